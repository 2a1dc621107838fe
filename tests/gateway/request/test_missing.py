"""Which refusals of an engine say that it lost an adapter: our plugin's, and no client's text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.gateway.engine_plugin.servables import MISSING, PARAMETER
from adapterworks.gateway.request.relay import _is_missing

SAID = f"{MISSING} `{'a' * 64}` under `ADAPTERS_SERVABLES` (parameter={PARAMETER})"


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        ({"message": SAID, "type": "BadRequestError", "param": PARAMETER, "code": 400}, True),
        ({"message": SAID, "type": "invalid_request_error"}, True),  # Anthropic's
        ({"message": f"Invalid role: {MISSING}", "param": PARAMETER}, False),
        ({"message": f"Invalid role: {MISSING}"}, False),
        ({"message": SAID, "param": None}, False),  # a chat template's, or a grammar's
        ({"message": SAID, "param": "messages"}, False),
        ({"param": PARAMETER}, False),
        (SAID, False),
        (None, False),
    ],
)
def test_only_the_plugins_own_words_say_that_an_adapter_is_gone(error: Any, missing: bool) -> None:
    assert _is_missing(json.dumps({"error": error}).encode()) is missing


@pytest.mark.parametrize("body", [b"", b"[]", b"null", MISSING.encode()])
def test_what_is_no_error_says_nothing(body: bytes) -> None:
    assert not _is_missing(body)
