"""Pages of a list, as OpenAI's clients turn them: `after`, `limit`, `has_more`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapterworks.gateway.http.routes.common import charge, receipt_of
from adapterworks.gateway.request.errors import InvalidField

LIMIT_OF_FILES = 10_000


def number(request: Request, name: str, default: int, *, most: int) -> int:
    """A number of the query, from 1 to `most`.

    Raises:
        InvalidField: it is none.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise InvalidField(f"`{name}` is not a number from 1 to {most}", param=name)
    return int(text)


def one_of(request: Request, name: str, words: Sequence[str]) -> str:
    """A word of the query; the first if there is none.

    Raises:
        InvalidField: it is another one.
    """
    word = request.query_params.get(name, words[0])
    if word not in words:
        raise InvalidField(f"`{name}` is none of {', '.join(words)}", param=name)
    return word


def listed(request: Request, data: list[dict[str, Any]], more: bool) -> Response:
    """A page."""
    charge(request, len(data))
    values = {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }
    return JSONResponse(values, headers=receipt_of(request).headers())
