"""What holds for every request and every answer, whoever makes it: redirects and token servers too.

Invariants: nothing is sent without TLS but between parts of this machine, or where plain http was
asked for; of an answer that is not a blob no more than `MOST` bytes are read, as they came (a
coded answer could become a thousand times as long).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2

from adapterworks.manifests.errors import IntegrityError, Refused
from adapterworks.manifests.hosts import is_loopback
from adapterworks.registry.remotes.oci.names import OciName

MOST = 4 << 20  # bytes of a manifest, as the specification's registries have it
WHOLE = "adapterworks.whole"  # in a request's extensions: whoever asks bounds the answer itself


def hooks(name: OciName, *, plain: bool) -> Mapping[str, list[Callable[[Any], Any]]]:
    """The `event_hooks` of a client for one repository.

    Args:
        plain: whether http may go to another machine.
    """

    def before(request: httpx2.Request) -> None:
        if not is_safe(request.url, name, plain=plain):
            raise Refused(
                f"`{name.host}` sends us to `{request.url.host}` without TLS",
                hint="`--plain-http` allows it in a network of your own",
            )

    def after(response: httpx2.Response) -> None:
        response.headers.pop("Content-Encoding", None)
        if WHOLE not in response.request.extensions:
            assert isinstance(response.stream, httpx2.SyncByteStream)
            response.stream = _Bounded(response.stream, name.host)

    return {"request": [before], "response": [after]}


def is_safe(url: httpx2.URL, name: OciName, *, plain: bool) -> bool:
    """Whether nobody in between reads what is sent there."""
    local = name.is_loopback and is_loopback(url.host)
    return url.scheme == "https" or (url.scheme == "http" and (plain or local))


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, host: str) -> None:
        self._stream, self._host = stream, host

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > MOST:
                raise IntegrityError(f"`{self._host}` answers with more than {MOST} bytes")
            yield chunk

    def close(self) -> None:
        self._stream.close()
