"""Why nothing came from an address: its name, its certificate, no TLS, or nobody there."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")


def unreached(url: str, error: BaseException) -> tuple[str, str] | None:
    """What kept a request from its address, and what to do about it; None where nobody answers.

    Args:
        url: that was asked.
        error: as the HTTP client raised it; what it was raised from counts too.
    """
    host = urlsplit(url).hostname or url
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"the certificate of `{host}` is not trusted: {cause.verify_message}",
                "where an authority of your own issued it, name the file of its certificate in "
                "`SSL_CERT_FILE`; see that the address names the host as the certificate does",
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return (
                f"`{url}` is https, and no TLS is spoken there",
                "write `http://`, or the port at which TLS is spoken",
            )
        if isinstance(cause, ssl.SSLError):
            return (
                f"no connection by TLS to `{host}`: {cause.reason or cause}",
                "see which versions of TLS and whose certificates it wants",
            )
        if isinstance(cause, socket.gaierror):
            return (
                f"the name `{host}` is not found: {cause.strerror}",
                "see how it is spelled, and that this machine's DNS (or /etc/hosts) knows it",
            )
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
