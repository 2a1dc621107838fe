"""What is kept of a request, what it may cost, and what its receipt says; without a gateway."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.request.fields import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    ENDPOINTS,
    MESSAGES,
    RESPONSES,
    Endpoint,
    estimate_tokens,
    reduce_fields,
)
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.manifests.errors import InvalidInput

BASE = f"sha256:{'b' * 64}"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_only_what_an_endpoint_lists_passes(endpoint: Endpoint) -> None:
    body = {"model": "m", "cache_salt": "x", "zz": 1, "aa": 2, "store": True, "service_tier": "x"}
    kept, ignored = reduce_fields(endpoint, body)
    assert kept == {"model": "m"}
    assert ignored == ("aa", "cache_salt", "zz")
    assert reduce_fields(endpoint, {"model": "m"}) == ({"model": "m"}, ())


@pytest.mark.parametrize(
    ("endpoint", "fields", "words"),
    [
        (CHAT, {"prompt_logprobs": 1}, "`prompt_logprobs` is not supported"),
        (COMPLETIONS, {"prompt_logprobs": 1}, "`prompt_logprobs` is not supported"),
        (COMPLETIONS, {"echo": True, "logprobs": 1}, "`echo` together with `logprobs`"),
        (CHAT, {"echo": True, "top_logprobs": 1}, "`echo` together with `logprobs`"),
        (RESPONSES, {"previous_response_id": "x"}, "`previous_response_id` is not supported"),
        (RESPONSES, {"background": True}, "`background` is not supported"),
        (RESPONSES, {"conversation": "x"}, "`conversation` is not supported"),
        (RESPONSES, {"prompt": {"id": "x"}}, "`prompt` is not supported"),
    ],
)
def test_what_would_change_the_meaning_is_refused(
    endpoint: Endpoint, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        reduce_fields(endpoint, {"model": "m", **fields})
    assert refused.value.hint
    off = {name: type(value)() for name, value in fields.items()}  # False, 0, "" or {}
    reduce_fields(endpoint, {"model": "m", **off})


@pytest.mark.parametrize(
    ("endpoint", "fields", "size", "tokens"),
    [
        (CHAT, {}, 0, 16),
        (CHAT, {}, 403, 100 + 16),
        (CHAT, {"max_tokens": 50}, 40, 10 + 50),
        (CHAT, {"max_tokens": 50, "max_completion_tokens": 7}, 40, 10 + 7),
        (CHAT, {"max_tokens": "50"}, 40, 10 + 16),
        (CHAT, {"max_tokens": -5}, 40, 10),
        (CHAT, {"max_tokens": 50, "n": 3}, 40, 10 + 150),
        (CHAT, {"max_tokens": 50, "n": 1}, 40, 10 + 50),
        (CHAT, {"max_tokens": 50, "n": 0}, 40, 10 + 50),
        (CHAT, {"max_tokens": 50, "n": -2}, 40, 10 + 50),
        (CHAT, {"max_tokens": 50, "n": "3"}, 40, 10 + 50),
        (COMPLETIONS, {"max_tokens": 5, "max_completion_tokens": 7}, 0, 5),
        (RESPONSES, {"max_output_tokens": 5, "max_tokens": 7}, 0, 5),
        (MESSAGES, {"max_tokens": 7}, 0, 7),
        (EMBEDDINGS, {"max_tokens": 7}, 8, 2 + 16),
    ],
)
def test_a_request_may_cost_its_bytes_and_what_it_asks_for(
    endpoint: Endpoint, fields: dict[str, Any], size: int, tokens: int
) -> None:
    assert estimate_tokens(endpoint, fields, size) == tokens


def test_anthropics_shape_and_usage_in_streams_are_the_endpoints() -> None:
    assert [e.path for e in ENDPOINTS if e.anthropic] == ["/v1/messages"]
    assert [e.path for e in ENDPOINTS if e.usage_in_stream] == [
        "/v1/chat/completions", "/v1/completions",
    ]  # fmt: skip


def test_a_receipt_says_what_is_known_so_far() -> None:
    receipt = Receipt()
    assert receipt.headers().keys() == {"x-request-id"}
    assert receipt.request_id.startswith("req-")
    assert len(receipt.request_id) == 28
    assert Receipt().request_id != receipt.request_id
    receipt.limits = {"x-ratelimit-limit-requests": "5"}
    receipt.target = Target("tiny", "base:tiny", BASE)
    assert receipt.headers() == {
        "x-request-id": receipt.request_id,
        "x-ratelimit-limit-requests": "5",
        "x-adapter-ref": "tiny",
        "x-base-digest": BASE,
    }
    receipt.target = Target("m:prod", "m", BASE, digest="sha256:d")
    assert receipt.headers()["x-adapter-digest"] == "sha256:d"


def test_names_of_ignored_fields_cannot_be_anything_else() -> None:
    receipt = Receipt(ignored=("good", "bad\r\nx-evil: 1", "ü", "", *(f"f{n}" for n in range(30))))
    told = receipt.headers()["x-adapter-ignored"].split(",")
    assert told == ["good", *(f"f{n}" for n in range(16))]  # of the first twenty
