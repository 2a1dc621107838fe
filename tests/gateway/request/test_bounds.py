"""Where a field's range ends: the last value that is taken, and the first that is not."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.gateway.request.usage import Counts, read_counts
from tests.gateway.request.test_edge import param, understood


@pytest.mark.parametrize("name", ["chat", "completions", "responses", "messages"])
def test_temperatures_are_those_that_the_engine_knows(name: str) -> None:
    for value in (0, 0.0, 0.1, 1, 2.0, 100):
        assert understood(name, temperature=value).asked.model == "m"
    for value in (-0.1, 100.1, "1", True):
        assert param(name, temperature=value) == "temperature"


SCHEMA: dict[str, Any] = {"name": "code", "schema": {"type": "object"}}


def test_a_schema_is_an_object() -> None:
    for good in (SCHEMA, {"name": "code"}):
        call = understood("chat", response_format={"type": "json_schema", "json_schema": good})
        assert call.payload["response_format"]["json_schema"] == good
    for bad in (None, "x", [], {"schema": "x"}, {"schema": None}):
        given = {"type": "json_schema", "json_schema": bad}
        assert param("chat", response_format=given) == "response_format"
    assert understood("chat", response_format={"type": "json_object"}).asked.model == "m"


def test_the_user_of_a_message_is_512_characters_long() -> None:
    call = understood("messages", metadata={"user_id": "ab\0" + "x" * 600})
    assert call.asked.end_user == "ab" + "x" * 509
    assert understood("messages", metadata={"user_id": 5}).asked.end_user == ""


def test_details_that_do_not_say_count_as_none() -> None:
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "prompt_tokens_details": {"audio_tokens": 1},
        "completion_tokens_details": {},
    }
    assert read_counts(usage) == Counts(7, 3, 0, 0)
