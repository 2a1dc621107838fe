"""The one map from our errors to HTTP: status, shape, headers, and what is never said."""

from __future__ import annotations

import json

import pytest

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.request.errors import (
    HeadersTooLarge,
    MethodNotAllowed,
    NoSuchPath,
    TooLarge,
    TooSlow,
    error_body,
    error_headers,
    shape_of,
)
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

LIMITED = RateLimited("slow down", headers={"X-RateLimit-Limit-Requests": "5"}, retry_after=1.2)


class Odd(Refused):
    """A class of its own."""


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (Unauthorized("x"), 401, "authentication_error", "invalid_api_key"),
        (LIMITED, 429, "rate_limit_error", "rate_limit_exceeded"),
        (HeadersTooLarge("x"), 431, "invalid_request_error", "headers_too_large"),
        (TooSlow("x"), 408, "invalid_request_error", "request_too_slow"),
        (TooLarge("x"), 413, "invalid_request_error", "request_too_large"),
        (MethodNotAllowed("x"), 405, "invalid_request_error", "method_not_allowed"),
        (InvalidInput("x"), 400, "invalid_request_error", "invalid_request"),
        (NotFound("x"), 404, "not_found_error", "model_not_found"),
        (NoSuchPath("x"), 404, "not_found_error", "path_not_found"),
        (Conflict("x"), 409, "conflict_error", "conflict"),
        (Refused("x"), 422, "adapter_refused", "adapter_refused"),
        (Odd("x"), 422, "adapter_refused", "adapter_refused"),
        (IntegrityError("x"), 422, "adapter_refused", "adapter_damaged"),
        (Unavailable("x"), 503, "unavailable", "temporarily_unavailable"),
        (AdapterworksError("x"), 500, "internal_error", "internal_error"),
    ],
)
def test_each_class_has_one_shape(
    error: AdapterworksError, status: int, kind: str, code: str
) -> None:
    assert shape_of(error).status == status
    told = json.loads(error_body(error))["error"]
    assert (told["type"], told["code"], told["param"]) == (kind, code, None)


def test_a_hint_follows_the_message() -> None:
    told = json.loads(error_body(NotFound("nö", hint="look")))
    assert told["error"]["message"] == "nö\n\nhint: look"
    assert json.loads(error_body(NotFound("nö")))["error"]["message"] == "nö"
    assert "nö".encode() in error_body(NotFound("nö"))


def test_anthropics_clients_get_their_own_shape() -> None:
    assert json.loads(error_body(NotFound("x"), anthropic=True)) == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "x"},
    }


def test_a_damaged_adapter_names_no_file_of_the_registry() -> None:
    told = error_body(IntegrityError("/home/ann/blobs/12 is damaged", hint="/home"))
    assert b"/home" not in told
    assert b"adapters verify" in told


def test_a_limit_has_the_code_of_its_kind() -> None:
    quota = RateLimited("x", headers={}, retry_after=1.0, code="insufficient_quota")
    assert json.loads(error_body(quota))["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (LIMITED, {"retry-after": "2", "x-ratelimit-limit-requests": "5"}),
        (Unavailable("x", retry_after=0.0), {"retry-after": "1"}),
        (Unavailable("x", retry_after=7.0), {"retry-after": "7"}),
        (Unavailable("x"), {}),
        (Unauthorized("x"), {"www-authenticate": "Bearer"}),
        (NotFound("x"), {}),
    ],
)
def test_when_to_try_again_and_how_to_log_in_are_headers(
    error: AdapterworksError, headers: dict[str, str]
) -> None:
    assert error_headers(error) == headers
