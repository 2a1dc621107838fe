"""A question to a running gateway over HTTP, and its answer: whole, or as it comes.

Invariant: an answer that was cut off, or that is none of a gateway's, is never taken for a whole
one: it is an `Unavailable` that says what came.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from adapterworks.cli import printing
from adapterworks.manifests.errors import (
    AdapterworksError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.remotes.http.unreached import unreached

_SECONDS = 600  # without a byte
_WHERE = "say where the gateway is with `--url`; `adapters ps` shows those of this home"
_KINDS: dict[int, type[AdapterworksError]] = {
    400: InvalidInput,
    401: Refused,
    404: NotFound,
    422: Refused,
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway listens, and what it is shown."""

    url: str
    secure: bool
    host: str
    port: int | None
    path: str
    headers: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL, and the key of ADAPTERS_KEY.

        Raises:
            InvalidInput: one of them cannot be sent.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            host = (parts.hostname or "").encode("idna").decode("ascii")
        except ValueError as error:  # a port beyond 65535, a bracket that is not closed, `..`
            raise InvalidInput(f"`{url}` is not an http URL: {error}") from error
        path = parts.path.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
        if parts.scheme not in ("http", "https") or not host or not _is_plain(path):
            raise InvalidInput(
                f"`{url}` is not an http URL", hint="write it as `http://127.0.0.1:8080`"
            )
        headers = {"content-type": "application/json"}
        if key := os.environ.get("ADAPTERS_KEY"):
            if not _is_plain(key):
                raise InvalidInput(
                    "`ADAPTERS_KEY` is no key: it has a space, a line break or a letter that no "
                    "key has",
                    hint="`adapters tenant key add TENANT` prints a new one",
                )
            headers["authorization"] = f"Bearer {key}"
        return cls(url, parts.scheme == "https", host, port, path, headers)


def answered_whole(address: Address, body: dict[str, Any], wait: float) -> dict[str, Any]:
    """A whole answer, with the digest of what gave it.

    Raises:
        AdapterworksError: as `answered`, or what answers is no gateway.
    """
    response = answered(address, body, wait)
    with _whole(address, response):
        _require_type(address, response, "application/json")
        answer = json.loads(response.read())
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        raise _stranger(address, "JSON without `choices`")
    answer["adapter_digest"] = response.getheader("x-adapter-digest")
    return answer


def text_of(answer: dict[str, Any]) -> str:
    """The text of a whole answer; none is an empty one.

    Raises:
        Unavailable: it has no message.
    """
    try:
        return answer["choices"][0]["message"]["content"] or ""
    except (LookupError, TypeError) as error:
        raise Unavailable("the gateway's answer has no message") from error


def answered(address: Address, body: dict[str, Any], wait: float) -> HTTPResponse:
    """Send the request, again for `wait` seconds while the gateway asks for that.

    Raises:
        AdapterworksError: as `_post` does, the last time.
    """
    end = time.monotonic() + wait
    said = ""
    while True:
        try:
            return _post(address, body)
        except Unavailable as error:
            if error.retry_after is None or time.monotonic() + error.retry_after >= end:
                raise
            if error.message != said:
                said = error.message
                printing.note(f"waiting: {said}", dim=True)
            time.sleep(error.retry_after)


def pieces(address: Address, response: HTTPResponse) -> Iterator[str]:
    """The answer's text, piece by piece.

    Raises:
        Unavailable: the answer was broken off, or is none of a gateway's.
    """
    ended = False
    with _whole(address, response):
        _require_type(address, response, "text/event-stream")
        for line in response:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                ended = True
                break
            event = json.loads(line[len(b"data: ") :])
            if "error" in event:
                raise Unavailable(str(event["error"]["message"]).partition("\n\n")[0])
            for choice in event["choices"]:
                yield choice["delta"].get("content") or ""
    if not ended:
        raise _broken(address, "the connection was closed before its end")


def _post(address: Address, body: dict[str, Any]) -> HTTPResponse:
    """Send the request.

    Raises:
        Unavailable: nothing answers at the URL, or its name, its certificate or TLS is at fault.
        NotFound, Refused, InvalidInput: as the gateway says.
    """
    kind = HTTPSConnection if address.secure else HTTPConnection
    connection = kind(address.host, address.port, timeout=_SECONDS)
    try:
        content = json.dumps(body).encode()
        connection.request("POST", address.path, content, address.headers)
        response = connection.getresponse()
        if connection.sock is not None:
            connection.sock.close()  # the response's alone now: closed with it
    except (OSError, HTTPException) as error:
        connection.close()
        raise _unreached(address, error) from error
    if response.status == 200:
        return response
    with _whole(address, response):
        said = response.read()
    raise _error(response.status, said, response.getheader("retry-after"))


def _unreached(address: Address, error: Exception) -> Unavailable:
    if (why := unreached(address.url, error)) is not None:
        return Unavailable(why[0], hint=why[1])
    if isinstance(error, HTTPException) and not isinstance(error, ConnectionError):
        return _stranger(address, "what is no HTTP")
    closed = isinstance(error, ConnectionResetError) and not address.secure
    return Unavailable(
        f"no gateway answers at {address.url}: {getattr(error, 'strerror', None) or error}",
        hint="where TLS is spoken, write `https://`"
        if closed
        else "start one with `adapters serve --open`, or say where it is with `--url`",
    )


def _error(status: int, body: bytes, retry_after: str | None) -> AdapterworksError:
    try:
        text = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f"the server answered {status} without a gateway's message\n\nhint: {_WHERE}"
    message, _, hint = text.partition("\n\nhint: ")
    if status == 401:  # a gateway's hint is for who writes headers
        hint = "set `ADAPTERS_KEY` to a key that `adapters tenant key add NAME` printed"
    kind = _KINDS.get(status)
    if kind is not None:
        return kind(message, hint=hint or None)
    # A proxy in between may give a date, which is not worth reading.
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return Unavailable(message, hint=hint or None, retry_after=seconds)


@contextlib.contextmanager
def _whole(address: Address, response: HTTPResponse) -> Iterator[None]:
    """What is read within is whole, and what a gateway sends; the response is closed after it.

    Raises:
        Unavailable: it was broken off.
    """
    try:
        with response:
            yield
    except (OSError, HTTPException) as error:
        raise _broken(address, str(error) or type(error).__name__) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # not what was agreed on
        raise _broken(address, "what came is no answer's") from error


def _broken(address: Address, why: str) -> Unavailable:
    return Unavailable(
        f"the answer of {address.url} was broken off: {why}",
        hint="ask again; the gateway's log, or that of a proxy in between, says what ended it",
    )


def _require_type(address: Address, response: HTTPResponse, wanted: str) -> None:
    """Look at the content type.

    Raises:
        Unavailable: what answers is no gateway: a proxy's login page, another program's port.
    """
    given = (response.getheader("content-type") or "nothing").partition(";")[0].strip().lower()
    if given != wanted:
        raise _stranger(address, f"`{given}` instead of `{wanted}`")


def _stranger(address: Address, what: str) -> Unavailable:
    return Unavailable(
        f"what answers at {address.url} is no gateway: it sent {what}",
        hint=_WHERE,
    )


def _is_plain(text: str) -> bool:
    """Visible ASCII: what a header or the path of a request may hold."""
    return all("!" <= c <= "~" for c in text)
