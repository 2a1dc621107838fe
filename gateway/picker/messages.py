"""What the picker says to Envoy: its messages, made of plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adapterworks.gateway.picker import ext_proc_pb2 as wire

DESTINATION = "x-gateway-destination-endpoint"
"""Names an engine to Envoy, in a header and in the metadata `envoy.lb` (Gateway API's protocol)."""
_OVERWRITE = 2
# Envoy takes no message above 64 KiB with its defaults.
_PIECE = 60_000


def headers_of(message: Any) -> dict[str, str]:
    """The headers of a message, lower-case; the last of several counts."""
    found = {}
    for one in message.headers.headers:
        found[one.key.lower()] = one.raw_value.decode("latin-1") or one.value
    return found


def mutation(headers: Mapping[str, str], remove: Iterable[str] = ()) -> Any:
    """Headers that are set, whatever was there, and others that are taken out."""
    options = [
        wire.HeaderValueOption(
            header=wire.HeaderValue(key=name, raw_value=value.encode("latin-1", "replace")),
            append_action=_OVERWRITE,
        )
        for name, value in headers.items()
    ]
    return wire.HeaderMutation(set_headers=options, remove_headers=list(remove))


def to_engine(endpoint: str, headers: Mapping[str, str], remove: Iterable[str]) -> Any:
    """The request goes to this engine (`ADDRESS:PORT`), with these headers."""
    common = wire.CommonResponse(
        header_mutation=mutation({DESTINATION: endpoint, **headers}, remove)
    )
    said = wire.ProcessingResponse(request_headers=wire.HeadersResponse(response=common))
    said.dynamic_metadata.update({"envoy.lb": {DESTINATION: endpoint}})
    return said


def to_client(headers: Mapping[str, str], remove: Iterable[str]) -> Any:
    """The answer's head."""
    common = wire.CommonResponse(header_mutation=mutation(headers, remove))
    return wire.ProcessingResponse(response_headers=wire.HeadersResponse(response=common))


def request_body(body: bytes, *, end: bool) -> Iterator[Any]:
    """The whole body that the engine gets, in pieces; `end`: no trailers follow."""
    for start in range(0, max(1, len(body)), _PIECE):
        common = _streamed(body[start : start + _PIECE], end=end and start + _PIECE >= len(body))
        yield wire.ProcessingResponse(request_body=wire.BodyResponse(response=common))


def response_body(body: bytes, *, end: bool) -> Iterator[Any]:
    """More of the answer, in pieces; `end`: this is all."""
    for start in range(0, max(1, len(body)), _PIECE):
        common = _streamed(body[start : start + _PIECE], end=end and start + _PIECE >= len(body))
        yield wire.ProcessingResponse(response_body=wire.BodyResponse(response=common))


def instead(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """An answer of our own; no engine is asked, or what it said is dropped."""
    return wire.ProcessingResponse(
        immediate_response=wire.ImmediateResponse(
            status=wire.HttpStatus(code=status), headers=mutation(headers), body=body
        )
    )


def trailers(kind: str) -> Any:
    """Trailers pass as they are."""
    return wire.ProcessingResponse(**{kind: wire.TrailersResponse()})


def _streamed(body: bytes, *, end: bool) -> Any:
    piece = wire.StreamedBody(body=body, end_of_stream=end)
    return wire.CommonResponse(body_mutation=wire.BodyMutation(streamed_response=piece))
