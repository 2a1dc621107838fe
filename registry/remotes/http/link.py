"""The way to a registry's server: requests with a token, its errors as ours, its lists as values.

Invariants:
- a token goes to the one address that was named, over HTTPS, or to this machine: never after a
  redirect, never in the clear unless that was asked for, never into a message;
- what the server says is parsed once into the registry's own frozen values, or is a fault of its.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter, ValidationError

from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.manifests.hosts import is_loopback
from adapterworks.registry.blobs.store import checked
from adapterworks.registry.remotes.http.unreached import unreached

PREFIX = "/v1/registry"
T = TypeVar("T")
_ATTEMPTS = 4
_TIMEOUT_S = 60.0
_PAGE = 1000
_STATUSES: dict[int, type[AdapterworksError]] = {
    400: InvalidInput,
    401: Refused,
    403: Refused,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    416: InvalidInput,
    422: Refused,
}


def check_url(url: str, *, insecure: bool = False) -> str:
    """The address of a server, without what may follow it.

    Raises:
        InvalidInput: not an address, or one to which a token would travel in the clear.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InvalidInput(
            "`ADAPTERS_REGISTRY` is not a URL", hint="write `https://registry.example`"
        )
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise InvalidInput(
            f"`{url}` would send the token in the clear",
            hint="use https, or set `ADAPTERS_REGISTRY_INSECURE=1` where the network is trusted",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix(PREFIX)}"


def part(text: str | int) -> str:
    """A name or a ref as a part of a path."""
    return quote(str(text), safe="@:")


Token = str | Callable[[], str | None] | None
"""What a server is shown; asked for each time where it is renewed, so that it does not end."""


class Link:
    """A server, asked in turn."""

    def __init__(self, url: str, token: Token, *, insecure: bool = False) -> None:
        """Ask nothing yet.

        Raises:
            InvalidInput: see `check_url`.
        """
        import httpx2

        self.url = check_url(url, insecure=insecure)

        def show(request: Any) -> None:
            if shown := token() if callable(token) else token:
                request.headers["authorization"] = f"Bearer {shown}"

        self._client = httpx2.Client(
            base_url=self.url + PREFIX,
            event_hooks={"request": [show]},
            timeout=_TIMEOUT_S,
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str, type_: type[T], **query: Any) -> T:
        """What a path answers, as a value.

        Raises:
            NotFound, InvalidInput, Conflict, Refused, Unavailable: as the server says.
        """
        return self._value(self._ask("GET", path, params=_words(query)), type_)

    def post(self, path: str, type_: type[T], **body: Any) -> T:
        """What a path answers when something is asked of it; it is asked once."""
        return self._value(self._ask("POST", path, attempts=1, json=body), type_)

    def wait(self, path: str, type_: type[T], *, seconds: float, **body: Any) -> T:
        """As `post`, of what the server works on for long."""
        answer = self._ask("POST", path, attempts=1, json=body, timeout=seconds)
        return self._value(answer, type_)

    def lines(self, path: str, **query: Any) -> Iterator[str]:
        """The lines of a path, as they come; what is cut off is an `Unavailable`."""
        import httpx2

        try:
            with self._client.stream("GET", path, params=_words(query)) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._error(answer)
                yield from answer.iter_lines()
        except httpx2.RequestError as error:
            raise self._away(error) from error

    def put(self, path: str, data: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """What a path answers to bytes."""
        answer = self._ask("PUT", path, content=data, headers=dict(headers))
        return self._value(answer, dict[str, Any])

    def size(self, path: str) -> int:
        """How many bytes a path has."""
        return int(self._ask("HEAD", path).headers["content-length"])

    def page(
        self, path: str, type_: type[T], *, limit: int, after: object = None, **query: Any
    ) -> list[T]:
        """One page of a list, with as many objects as are asked for."""
        told = self.get(path, dict[str, Any], limit=min(limit, _PAGE), after=after, **query)
        return [TypeAdapter(type_).validate_python(value) for value in told["data"]]

    def pages(self, path: str, type_: type[T], **query: Any) -> Iterator[T]:
        """Every object of a list, read in pages."""
        after: str | None = None
        while True:
            page = self.get(path, dict[str, Any], limit=_PAGE, after=after, **query)
            yield from map(TypeAdapter(type_).validate_python, page["data"])
            if not page["has_more"]:
                return
            after = page["last_id"]

    def whole(self, path: str, digest: str) -> bytes:
        """All bytes of a path.

        Raises:
            CorruptBlob: they are not what the digest says.
        """
        data: bytes = self._ask("GET", path).content
        return b"".join(checked(digest, [data], self.url))

    def stream(self, path: str, start: int) -> Iterator[bytes]:
        """Bytes from a place on, as they come; what is cut off is an `Unavailable`."""
        import httpx2

        headers = {"range": f"bytes={start}-"} if start else {}
        try:
            with self._client.stream("GET", path, headers=headers) as answer:
                if answer.status_code not in (200, 206):
                    answer.read()
                    raise self._error(answer)
                if start and answer.status_code == 200:
                    raise Unavailable(f"`{self.url}` gives no parts of files")
                yield from answer.iter_raw()  # as they come: what is gathered would be lost
        except httpx2.RequestError as error:
            raise self._away(error) from error

    def _ask(self, method: str, path: str, *, attempts: int = _ATTEMPTS, **options: Any) -> Any:
        import httpx2

        for attempt in range(1, attempts + 1):
            try:
                answer = self._client.request(method, path, **options)
            except httpx2.RequestError as error:
                if attempt == attempts:
                    raise self._away(error) from error
            else:
                if answer.status_code < 300:
                    return answer
                if answer.status_code not in (429, 502, 503, 504) or attempt == attempts:
                    raise self._error(answer)
            time.sleep(0.25 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _value(self, answer: Any, type_: type[T]) -> T:
        try:
            return TypeAdapter(type_).validate_json(answer.content)
        except ValidationError as error:
            raise Unavailable(
                f"`{self.url}` does not answer as a registry of this version does",
                hint="see that both sides have the same version of adapterworks",
            ) from error

    def _error(self, answer: Any) -> AdapterworksError:
        """What the server says, as our own error."""
        try:
            said = answer.json()["error"]
            text, code = str(said["message"]), said["code"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text, code = f"`{self.url}` answers with status {answer.status_code}", None
        message, _, hint = text.partition("\n\nhint: ")
        if answer.status_code in (301, 302, 307, 308):
            return InvalidInput(
                f"`{self.url}` is answered with a redirect, and a token is not sent on",
                hint="name the address itself in `ADAPTERS_REGISTRY`",
            )
        if answer.status_code == 401:
            hint = (
                "set `ADAPTERS_REGISTRY_TOKEN` to a token of `adapters registry token create`, "
                "or run `adapters login`"
            )
        kind = _STATUSES.get(answer.status_code, Unavailable)
        if code == "adapter_damaged":
            kind = IntegrityError
        return kind(message, hint=hint or None)

    def _away(self, error: Exception) -> Unavailable:
        if (why := unreached(self.url, error)) is not None:
            return Unavailable(why[0], hint=why[1])
        return Unavailable(
            f"the registry at `{self.url}` does not answer: {error or type(error).__name__}",
            hint="see that it runs: `adapters registry serve`, or the gateway with `[registry]` on",
        )


def _words(query: Mapping[str, Any]) -> dict[str, str]:
    """A query without what is not said."""
    said = {key: value for key, value in query.items() if value not in (None, "", False)}
    return {key: "true" if value is True else str(value) for key, value in said.items()}
