"""Logins as they are kept: one file in ADAPTERS_HOME, one entry for each registry's server.

Invariants: the file is readable by its owner alone, from its first byte on; one command at a time
changes it, so that what may be used once (a rotating renewal) is used once.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)
FILE, LOCK = "logins.json", "logins.lock"
# A token that ends within a minute is renewed first: what is asked with it takes a while.
SOON_S = 60.0


@dataclass(frozen=True, slots=True)
class Login:
    """What an issuer gave.

    Attributes:
        token: what the server is shown.
        expires: seconds since the epoch.
        renewal: for another token; None where the issuer gave none.
        token_endpoint, client_id: where and as whom it is renewed.
    """

    issuer: str
    client_id: str
    token_endpoint: str
    expires: float
    token: str = field(repr=False)
    renewal: str | None = field(default=None, repr=False)

    @property
    def soon_over(self) -> bool:
        """Whether it is to be renewed before it is used."""
        return self.expires - time.time() < SOON_S


def _login_of(entry: Any) -> Login | None:
    """A kept entry; None of one that lacks something, as another version may have written it."""
    if not isinstance(entry, dict):
        return None
    known: dict[str, Any] = {one.name: entry.get(one.name) for one in fields(Login)}
    texts = ("issuer", "client_id", "token_endpoint", "token")
    if not all(isinstance(known[name], str) for name in texts):
        return None
    if not isinstance(known["expires"], int | float):
        return None
    if known["renewal"] is not None and not isinstance(known["renewal"], str):
        return None
    return Login(**known)


def claims_of(token: str) -> Mapping[str, Any]:
    """What a token says; nothing of it is believed, the server verifies it.

    Raises:
        ValueError: it is no signed token.
    """
    body = token.split(".")[1]
    values = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if not isinstance(values, dict):
        raise ValueError("a token's claims are no object")
    return values


class Logins:
    """The logins of a home."""

    def __init__(self, home: Path) -> None:
        self._file, self._lock = home / FILE, home / LOCK

    def of(self, registry: str) -> Login | None:
        """The login at a server."""
        return _login_of(self._read().get(registry))

    def keep(self, registry: str, login: Login) -> None:
        """Keep a login in the place of the one before it."""
        with self._alone():
            self._write({**self._read(), registry: asdict(login)})

    def current(self, registry: str, renew: Callable[[Login], Login]) -> Login | None:
        """The login at a server, renewed if it is soon over; by one command, for all that wait."""
        login = self.of(registry)
        if login is None or not login.soon_over:
            return login
        with self._alone():
            login = self.of(registry)  # another command may have renewed it meanwhile
            if login is not None and login.soon_over:
                login = renew(login)
                self._write({**self._read(), registry: asdict(login)})
            return login

    def forget(self, registry: str) -> bool:
        """Remove a login; whether there was one."""
        with self._alone():
            entries = self._read()
            known = entries.pop(registry, None)
            if known is not None:
                self._write(entries)
        return known is not None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other command changes what is kept."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            entries = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:  # cut off or edited: what it had is asked for anew
            entries = None
        if not isinstance(entries, dict):
            _log.warning("`%s` cannot be read and counts as empty: log in again", self._file)
            return {}
        return entries

    def _write(self, entries: Mapping[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(prefix="logins-", dir=self._file.parent)  # 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=2)
        Path(path).replace(self._file)
