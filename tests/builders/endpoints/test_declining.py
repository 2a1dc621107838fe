"""Which refusals are about one chat, in the words that servers have for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.builders.endpoints.declining import declined

# As documented by, or seen of, each server.
TOO_LONG: list[tuple[str, int, Any]] = [
    (
        "OpenAI",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, your "
                "messages resulted in 9001 tokens.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
    ),
    (
        "vLLM",
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 2048 tokens. However, you requested "
            "2300 tokens",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    (
        "llama.cpp",
        400,
        {"error": {"code": 400, "message": "…", "type": "exceed_context_size_error"}},
    ),
    (
        "Anthropic",
        400,
        {"error": {"message": "prompt is too long: 210000 tokens > 200000"}},
    ),
    (
        "Mistral",
        400,
        {"message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model"},
    ),
    (
        "TGI",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
            "error_type": "validation",
        },
    ),
    ("a proxy", 413, "<html>Request Entity Too Large</html>"),
]
FILTERED: list[tuple[str, int, Any]] = [
    (
        "Azure",
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's "
                "content management policy.",
                "code": "content_filter",
                "status": 400,
            }
        },
    ),
    ("OpenAI", 400, {"error": {"code": "invalid_prompt", "message": "Invalid prompt: flagged"}}),
]
OF_ALL: list[tuple[str, int, Any]] = [
    ("no such model", 404, {"error": {"message": "maximum context length", "code": "not_found"}}),
    ("no key", 401, {"error": {"code": "content_filter"}}),
    ("busy", 429, {"error": {"message": "prompt is too long"}}),
    ("credit", 400, {"error": {"message": "Your credit balance is too low"}}),
    ("a parameter", 400, {"error": {"message": "Unknown parameter: 'seed'", "param": "seed"}}),
    ("no text", 400, {"error": {"message": None, "code": 400}}),
    ("a list", 400, [1, 2]),
    ("nothing", 400, ""),
]


@pytest.mark.parametrize(("server", "status", "said"), TOO_LONG + FILTERED)
def test_it_is_about_the_chat(server: str, status: int, said: Any) -> None:
    text = said if isinstance(said, str) else json.dumps(said)
    assert declined(status, text.encode()), server


@pytest.mark.parametrize(("what", "status", "said"), OF_ALL)
def test_it_is_about_the_run(what: str, status: int, said: Any) -> None:
    text = said if isinstance(said, str) else json.dumps(said)
    assert not declined(status, text.encode()), what
