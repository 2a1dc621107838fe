"""TLS to an engine elsewhere: whose certificates are trusted, and what the gateway shows of itself.

Invariant: a certificate that is renewed on disk is used from the next connection on; files that
cannot be read then change nothing, and the log says so once.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import InvalidInput

_log = logging.getLogger(__name__)


class EngineTls:
    """Of the engines of one table of `gateway.toml`.

    Args:
        ca: certificates of who may vouch for the engine; None: those that this machine trusts.
        cert, key: what the gateway shows, for engines that ask for it.
        name: that the engine's certificate must have; None: its address's.

    Raises:
        InvalidInput: a file is not what it should be.
    """

    def __init__(
        self, ca: Path | None, cert: Path | None, key: Path | None, name: str | None = None
    ) -> None:
        self.name = name
        self._ca, self._cert, self._key = ca, cert, key
        self._stamp: tuple[int, ...] | None = None
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """The TLS context of the next connection: files that have changed are read again."""
        stamp = self._stamps()
        if stamp != self._stamp:
            try:
                self._context = self._read()
            except InvalidInput as error:
                _log.error("what was read before is used on: %s", error.message)
                self._stamp = stamp
        return self._context

    def _read(self) -> ssl.SSLContext:
        self._stamp = self._stamps()
        try:
            context = ssl.create_default_context(cafile=self._ca and str(self._ca))
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                f"`{self._ca}` has no certificates of a CA: {_why(error)}",
                hint="`ca` in `[[engines]]` names a PEM file",
            ) from error
        if self._cert is not None:
            try:
                context.load_cert_chain(str(self._cert), self._key and str(self._key))
            except (OSError, ssl.SSLError) as error:
                raise InvalidInput(
                    f"`{self._cert}` and `{self._key or self._cert}` are no certificate with its "
                    f"key: {_why(error)}",
                    hint="`cert` and `key` in `[[engines]]` name PEM files; the key without a "
                    "passphrase",
                ) from error
        return context

    def _stamps(self) -> tuple[int, ...]:
        """When the files were written; 0 for one that is not there."""
        found = []
        for path in (self._ca, self._cert, self._key):
            try:
                found.append(0 if path is None else path.stat().st_mtime_ns)
            except OSError:
                found.append(0)
        return tuple(found)


def tls_of(tls: EngineTls | None) -> dict[str, Any]:
    """What a request of `aiohttp` is given for it."""
    return {} if tls is None else {"ssl": tls.context(), "server_hostname": tls.name}


def _why(error: OSError) -> str:
    return str(error.strerror or getattr(error, "reason", None) or "it cannot be read")
