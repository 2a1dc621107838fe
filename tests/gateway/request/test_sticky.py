"""What keeps its side of a canary: whoever is named, else the conversation; bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.gateway.request.body import parse_body
from adapterworks.gateway.request.endpoints import (
    CHAT,
    COMPLETIONS,
    DETOKENIZE,
    GENERATE,
    MESSAGES,
    RESPONSES,
    Endpoint,
    parse,
)

ASK, SYSTEM = {"role": "user", "content": "why?"}, {"role": "system", "content": "be kind"}
SAID = {"role": "assistant", "content": "so"}
TEXTS = [{"type": "text", "text": text} for text in ("why?", "x")]
PARTS = {"role": "user", "content": TEXTS}


def sticky(endpoint: Endpoint, **fields: Any) -> str:
    name = "adapter" if endpoint is GENERATE else "model"
    body = json.dumps({name: "m", **fields}).encode()
    return parse(endpoint, parse_body(body)).asked.sticky


@pytest.mark.parametrize(
    ("endpoint", "fields", "kept"),
    [
        (CHAT, {"messages": [ASK]}, "user\nwhy?"),
        (CHAT, {"messages": [SYSTEM, ASK]}, "system\nbe kind\nuser\nwhy?"),
        (CHAT, {"messages": [SYSTEM, ASK, SAID, ASK]}, "system\nbe kind\nuser\nwhy?"),
        (CHAT, {"messages": [SAID]}, "assistant\nso"),
        (CHAT, {"messages": [PARTS]}, "user\ntext\nwhy?\ntext\nx"),
        (CHAT, {"messages": [ASK], "user": "ann"}, "ann"),
        (CHAT, {"messages": [ASK], "safety_identifier": "ann"}, "ann"),
        (CHAT, {"messages": [ASK], "prompt_cache_key": "k"}, "k"),
        (CHAT, {"messages": [ASK], "prompt_cache_key": "k", "user": "ann"}, "ann"),
        (COMPLETIONS, {"prompt": "once upon"}, "once upon"),
        (COMPLETIONS, {"prompt": ["one", "two"]}, "one\ntwo"),
        (COMPLETIONS, {"prompt": [[1, 2], [3]]}, "1\n2\n3"),
        (RESPONSES, {"input": "hi"}, "hi"),
        (RESPONSES, {"input": [ASK, SAID], "instructions": "be"}, "be\nuser\nwhy?"),
        (RESPONSES, {"input": "hi", "prompt_cache_key": "k"}, "k"),
        (MESSAGES, {"messages": [ASK, SAID], "max_tokens": 1, "system": "s"}, "s\nuser\nwhy?"),
        (MESSAGES, {"messages": [ASK], "max_tokens": 1, "metadata": {"user_id": "ann"}}, "ann"),
        (GENERATE, {"prompt": "hi"}, "user\nhi"),
        (DETOKENIZE, {"tokens": [1]}, ""),
    ],
)
def test_it_is_said_by_whom_or_by_what(endpoint: Endpoint, fields: Any, kept: str) -> None:
    assert sticky(endpoint, **fields) == kept


def test_it_is_no_longer_than_two_thousand_characters_of_text() -> None:
    long = sticky(COMPLETIONS, prompt=["a" * 1500, "b" * 1500, "c" * 10**6])
    assert long == "a" * 1500 + "\n" + "b" * 500
