"""The one map from exception to HTTP status, in OpenAI's and Anthropic's error shapes.

Invariant: a missing and a forbidden adapter give the same bytes; nothing of the engine or the
registry (their names, paths, other tenants' adapters) is in an answer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.index.database import IndexAway
from adapterworks.registry.jobs.quota import OverQuota


class InvalidField(InvalidInput):
    """A field of the request is mistyped, out of range, or contradicts another one.

    Args:
        param: the field's name.
    """

    def __init__(self, message: str, *, param: str | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class InvalidLines(InvalidInput):
    """Lines of a file cannot be used.

    Args:
        listed: every fault with all of its lines.
    """

    def __init__(self, message: str, *, listed: list[dict[str, object]], hint: str) -> None:
        super().__init__(message, hint=hint)
        self.listed = listed


class TooLarge(InvalidInput):
    """The request's body is above the gateway's limit."""


class TooSlow(InvalidInput):
    """The request did not arrive within the gateway's limits."""


class HeadersTooLarge(TooLarge):
    """The request's path and headers are above the gateway's limit."""


class NoSuchThing(NotFound):
    """A file, upload, job or batch that does not exist, or is another tenant's."""


class Forbidden(AdapterworksError):
    """The caller is known, and may not do this (HTTP 403)."""


class NoSuchPart(InvalidInput):
    """A range that the bytes do not have (HTTP 416).

    Args:
        size: how many there are.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"there are {size} bytes")
        self.size = size


class NoSuchPath(NotFound):
    """A path that the gateway does not have; it says nothing of any model."""


class MethodNotAllowed(InvalidInput):
    """A known path with another method."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How one class of error is answered: HTTP status, OpenAI's `type` and `code`."""

    status: int
    type: str
    code: str


SHAPES: dict[type[AdapterworksError], Shape] = {
    Unauthorized: Shape(401, "authentication_error", "invalid_api_key"),
    RateLimited: Shape(429, "rate_limit_error", "rate_limit_exceeded"),
    HeadersTooLarge: Shape(431, "invalid_request_error", "headers_too_large"),
    TooSlow: Shape(408, "invalid_request_error", "request_too_slow"),
    TooLarge: Shape(413, "invalid_request_error", "request_too_large"),
    Forbidden: Shape(403, "permission_error", "forbidden"),
    NoSuchPart: Shape(416, "invalid_request_error", "range_not_satisfiable"),
    MethodNotAllowed: Shape(405, "invalid_request_error", "method_not_allowed"),
    InvalidInput: Shape(400, "invalid_request_error", "invalid_request"),
    NoSuchPath: Shape(404, "not_found_error", "path_not_found"),
    NoSuchThing: Shape(404, "not_found_error", "not_found"),
    NotFound: Shape(404, "not_found_error", "model_not_found"),
    Conflict: Shape(409, "conflict_error", "conflict"),
    # Not 403 and not 5xx: the caller may use it, but asking again will not help.
    Refused: Shape(422, "adapter_refused", "adapter_refused"),
    IntegrityError: Shape(422, "adapter_refused", "adapter_damaged"),
    OverQuota: Shape(429, "insufficient_quota", "insufficient_quota"),
    Unavailable: Shape(503, "unavailable", "temporarily_unavailable"),
    AdapterworksError: Shape(500, "internal_error", "internal_error"),
}


_DAMAGED = (
    "the adapter's stored bytes are not those that were published, so it is not served\n\n"
    "hint: whoever runs the gateway finds the file with `adapters verify`"
)

# What a driver says of the index names hosts and users.
_INDEX_AWAY = "the gateway's index does not answer\n\nhint: try again shortly"


def shape_of(error: AdapterworksError) -> Shape:
    """The shape of the most specific class in the map."""
    return next(SHAPES[cls] for cls in type(error).__mro__ if cls in SHAPES)


def error_body(error: AdapterworksError, *, anthropic: bool = False) -> bytes:
    """The answer's JSON body; the hint, if any, follows the message after a blank line."""
    shape = shape_of(error)
    code = error.code if isinstance(error, RateLimited) else shape.code
    message = f"{error.message}\n\nhint: {error.hint}" if error.hint else error.message
    if isinstance(error, IntegrityError):
        message = _DAMAGED  # the error's own names the registry's files
    if isinstance(error, IndexAway):
        message = _INDEX_AWAY
    if anthropic:
        body: dict[str, object] = {
            "type": "error",
            "error": {"type": shape.type, "message": message},
        }
    else:
        param = error.param if isinstance(error, InvalidField) else None
        values = {"message": message, "type": shape.type, "param": param, "code": code}
        body = {"error": values}
        if isinstance(error, InvalidLines):
            body["error"] = {**values, "faults": error.listed}
    return json.dumps(body, ensure_ascii=False).encode()


def error_headers(error: AdapterworksError) -> dict[str, str]:
    """`Retry-After` and the limit headers, where they apply."""
    headers: dict[str, str] = {}
    if isinstance(error, (RateLimited, Unavailable)) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, RateLimited):
        headers.update({name.lower(): value for name, value in error.headers.items()})
    if isinstance(error, NoSuchPart):
        headers["content-range"] = f"bytes */{error.size}"
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return headers
