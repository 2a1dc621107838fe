"""A request's body, from bytes to a JSON object, within bounds.

Invariant: what comes out of here can be written as JSON again and read by any reader to the same
values: UTF-8, no lone surrogates, no key twice, no NaN, bounded depth, bounded count.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from adapterworks.gateway.request import bounds
from adapterworks.gateway.request.errors import TooLarge, TooSlow
from adapterworks.manifests.errors import InvalidInput

MOST_DIGITS = 19  # every value of a 64-bit integer


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object as a client sent it.

    Attributes:
        size: bytes it took.
        oversized: whether it holds an integer that no 64-bit number can be. The field that it
            stands in says so, if the gateway reads it; else the request is refused for it.
    """

    values: dict[str, Any]
    size: int
    oversized: bool = False


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """The request's body.

    Raises:
        TooLarge: it is above `limit` bytes.
        TooSlow: it did not come within `seconds`.
        InvalidInput: whoever sends it has gone, which is no fault of ours.
    """
    too_large = TooLarge(f"the request's body is above {limit} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > limit:
                    raise too_large
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {seconds:g} s") from error
    except ClientDisconnect as error:
        raise InvalidInput("the client left before the body was whole") from error
    return bytes(data)


def parse_body(data: bytes) -> Body:
    """The object in `data`.

    Raises:
        InvalidInput: it is no JSON object, is nested too deeply, holds too much, names a key twice,
            or holds a text or a number that cannot be passed on.
    """
    bounds.check(data)
    reader = _Reader()
    try:
        # This one refuses lone surrogates and nesting beyond 200 levels, before the other recurses.
        values = from_json(data, allow_inf_nan=False)
        json.loads(
            data,
            object_pairs_hook=reader.pairs,
            parse_int=reader.integer,
            parse_float=reader.real,
            parse_constant=reader.constant,
        )
    except RecursionError as error:
        raise InvalidInput("the body is not JSON: nested too deeply") from error
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise InvalidInput("the body is not a JSON object")
    return Body(values, len(data), reader.oversized)


class _Reader:
    """What the first parser does not look at: keys that come twice, and numbers without bounds."""

    def __init__(self) -> None:
        self.oversized = False

    def pairs(self, items: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in items}) == len(items):
            return
        seen: set[str] = set()
        for name, _ in items:
            if name in seen:
                raise InvalidInput(
                    f"the key `{name[:100]}` appears twice",
                    hint="which of its values is meant depends on the reader, so none is taken",
                )
            seen.add(name)

    def integer(self, digits: str) -> None:
        self.oversized |= len(digits.lstrip("-")) > MOST_DIGITS

    def real(self, digits: str) -> None:
        if math.isinf(float(digits)):
            raise ValueError(f"the number {digits[:20]} is out of range")

    def constant(self, name: str) -> NoReturn:
        raise ValueError(f"`{name}` is not a JSON value")
