"""Where a field's range ends: the last value that is taken, and the first that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from adapterworks.gateway.console.visit import form_of
from adapterworks.gateway.http.routes.registry import sending
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.request.body import read_body
from adapterworks.gateway.request.cost import Cost, expected, most
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.request.typed.values import MOST_PROMPTS
from adapterworks.gateway.request.usage import Counts, Unusable, read_counts
from adapterworks.manifests.errors import InvalidInput
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


MOST = 2**31 - 1
RANGES: list[tuple[str, str, float, float, dict[str, Any]]] = [
    ("chat", "frequency_penalty", -2, 2, {}),
    ("chat", "presence_penalty", -2, 2, {}),
    ("completions", "repetition_penalty", -100, 100, {}),
    ("chat", "length_penalty", -100, 100, {}),
    ("chat", "top_p", 0, 1, {}),
    ("generate", "top_p", 0, 1, {}),
    ("chat", "top_k", -1, MOST, {}),
    ("messages", "top_k", -1, MOST, {}),
    ("chat", "seed", -(2**63), 2**63 - 1, {}),
    ("chat", "min_tokens", 0, MOST, {}),
    ("chat", "max_completion_tokens", 1, MOST, {}),
    ("chat", "n", 1, 128, {}),
    ("chat", "top_logprobs", -1, 100_000, {"logprobs": True}),
    ("completions", "logprobs", -1, 100_000, {}),
    ("completions", "max_tokens", 0, MOST, {"echo": True}),
    ("completions", "prompt_logprobs", 0, MOST, {}),
    ("embeddings", "dimensions", 1, MOST, {}),
]


@pytest.mark.parametrize(("name", "field", "least", "most", "beside"), RANGES)
def test_a_number_may_be_the_least_and_the_most_and_nothing_beyond(
    name: str, field: str, least: float, most: float, beside: dict[str, Any]
) -> None:
    for value in (least, most):
        call = understood(name, **{field: value}, **beside)
        assert getattr(call.asked, field) == call.payload[field] == value
    step = 1 if isinstance(most, int) and most > 128 else 0.01
    whole = field in ("n", "dimensions", "max_completion_tokens")
    for value in (least - (1 if whole or step == 1 else step), most + (1 if whole else step)):
        assert param(name, **{field: value}, **beside) == field


TOOL = {"type": "function", "function": {"name": "f"}}
LENGTHS: list[tuple[str, str, Callable[[int], Any], int]] = [
    ("chat", "model", lambda n: "x" * n, 200),
    ("chat", "user", lambda n: "x" * n, 512),
    ("chat", "stop", lambda n: ["a"] * n, 64),
    ("chat", "metadata", lambda n: {str(i): "x" for i in range(n)}, 64),
    ("chat", "logit_bias", lambda n: {str(i): 0.5 for i in range(n)}, 10_000),
    ("chat", "stop_token_ids", lambda n: [1] * n, 100_000),
    ("chat", "bad_words", lambda n: ["a"] * n, 1000),
    ("chat", "documents", lambda n: [{}] * n, 10_000),
    ("chat", "messages", lambda n: [{"role": "user"}] * n, 10_000),
    ("chat", "tools", lambda n: [TOOL] * n, 256),
    ("messages", "tools", lambda n: [{"name": "f"}] * n, 256),
    ("completions", "prompt", lambda n: ["a"] * n, 1024),
]


@pytest.mark.parametrize(("name", "field", "make", "most"), LENGTHS)
def test_a_list_or_a_text_may_be_as_long_as_that_and_no_longer(
    name: str, field: str, make: Callable[[int], Any], most: int
) -> None:
    assert getattr(understood(name, **{field: make(most)}).asked, field) == make(most)
    assert param(name, **{field: make(most + 1)}) == field


@pytest.mark.parametrize(
    ("name", "field", "make"),
    [
        ("completions", "prompt", lambda number: [number]),
        ("embeddings", "input", lambda number: [[1], [number, 1]]),
        ("chat", "stop_token_ids", lambda number: [number]),
    ],
)
def test_ids_of_tokens_are_those_of_a_vocabulary(
    name: str, field: str, make: Callable[[int], Any]
) -> None:
    for number in (0, MOST):
        assert getattr(understood(name, **{field: make(number)}).asked, field) == make(number)
    for number in (-1, MOST + 1):
        assert param(name, **{field: make(number)}) == field


def test_a_bias_is_at_most_a_hundred() -> None:
    for value in (-100, 100):
        assert understood("chat", logit_bias={"5": value}).asked.model == "m"
    for value in (-101, 101):
        assert param("chat", logit_bias={"5": value}) == "logit_bias"


NEUTRAL: dict[str, Any] = {
    "functions": [], "function_call": "none", "use_beam_search": False, "verbosity": "medium",
    "modalities": ["text"], "watermarking": False, "vllm_xargs": {}, "mm_processor_kwargs": {},
    "media_io_kwargs": {},
}  # fmt: skip
ONE: dict[str, Any] = {"n": 1, "best_of": 1, "logprobs": False, "echo": False}


@pytest.mark.parametrize(
    ("name", "neutral"),
    [
        ("chat", {**NEUTRAL, "best_of": 1, "stop_sequences": []}),
        ("completions", {**NEUTRAL, "tools": [], "top_logprobs": 0, "stop_sequences": []}),
        ("responses", {**NEUTRAL, **ONE, "background": False}),
        ("messages", {**NEUTRAL, **ONE, "stop": []}),
    ],
)
def test_a_refused_field_may_ask_for_nothing_and_for_nothing_else(
    name: str, neutral: dict[str, Any]
) -> None:
    call = understood(name, **neutral)
    assert call.ignored == ()
    for field, value in neutral.items():
        others: list[Any] = [0, 2] if value in (0, 1) and type(value) is int else ["x", True, 7]
        for other in others:
            if other != value:
                assert param(name, **{field: other}) == field


def fault(name: str, *, without: str = "", **fields: Any) -> InvalidField:
    with pytest.raises(InvalidField) as caught:
        understood(name, **{**fields, **({without: None} if without else {})})
    return caught.value


def test_a_fault_says_what_is_wrong_and_what_to_do() -> None:
    missing = fault("chat", without="model")
    assert missing.message == "`model` is missing"
    assert missing.hint == "`GET /v1/models` lists the models you may use"
    assert fault("generate", without="adapter").hint == missing.hint
    missing = fault("chat", without="messages")
    assert (missing.message, missing.hint) == ("`messages` is missing", None)
    wrong = fault("chat", stream="true")
    assert (wrong.message, wrong.hint) == ("`stream` should be a valid boolean", None)
    unknown = fault("generate", foo=1)
    assert unknown.message == "unknown field `foo`"
    assert unknown.hint is not None
    assert unknown.hint.startswith("fields are adapter, max_tokens, prompt, ")
    long = fault("chat", logit_bias={"x" * 150: "no"})
    assert f"`logit_bias.{'x' * 100}`" in long.message


def test_tools_and_their_choice_reach_whoever_decides_by_them() -> None:
    choice = {"type": "function", "function": {"name": "f"}}
    asked = understood("chat", tools=[TOOL], tool_choice=choice).asked
    assert (getattr(asked, "tools"), getattr(asked, "tool_choice")) == ([TOOL], choice)  # noqa: B009
    for name in (5, None):
        bad = {"type": "function", "function": {"name": name}}
        assert param("chat", tools=[TOOL], tool_choice=bad) == "tool_choice"
    tool = {"name": "f", "input_schema": {}}
    assert understood("messages", tools=[tool]).asked.hidden
    assert not understood("messages").asked.hidden


def test_an_answer_is_begun_unless_it_is_continued() -> None:
    assert param("chat", continue_final_message=True) == "continue_final_message"
    both = {"continue_final_message": True, "add_generation_prompt": False}
    assert understood("chat", **both).payload["continue_final_message"] is True


def test_a_count_is_at_most_what_metering_takes_of_all_parts_together() -> None:
    most = {"prompt_tokens": 2**40, "completion_tokens": 0}
    assert read_counts(most) == Counts(2**40, 0)
    for wrong in (2**40 + 1, -1, True, 1.0, "1"):
        with pytest.raises(Unusable):
            read_counts({**most, "completion_tokens": wrong})
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    part = read_counts({**dict.fromkeys(names, 2**40), "output_tokens": 2**40})
    prompt, completion = part.prompt * MOST_PROMPTS, part.completion * MOST_PROMPTS
    UsageEvent("r", "t", "", "", prompt, completion, 200, 0.0)  # or it would be counted by nobody


def message(kind: str) -> Receive:
    async def receive() -> Message:
        return {"type": kind}

    return receive


async def test_who_leaves_in_the_middle_of_a_body_is_no_defect() -> None:
    """A connection that breaks would be a trace in the log, and an answer of 500."""
    request = Request({"type": "http", "headers": []}, message("http.disconnect"))
    with pytest.raises(InvalidInput, match="left before the body was whole"):
        await read_body(request, 100, 5.0)
    with pytest.raises(InvalidInput, match="left before the part was whole"):
        await sending._part(request, 5.0)
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    with pytest.raises(HTTPException) as caught:
        await form_of(Request({"type": "http", "headers": form}, message("http.disconnect")))
    assert caught.value.status_code == 400


def test_the_most_of_a_prompt_is_its_bytes_and_a_templates_or_the_context() -> None:
    """256 tokens of template beside each prompt; a token of text is a byte at least."""
    one = understood("completions", max_tokens=7)
    assert most(one, 100_000) == Cost(one.size + 256, 7)
    assert most(one, 100) == Cost(100, 7)
    three = understood("completions", prompt=["a", "b", "c"], max_tokens=7, n=2)
    assert most(three, 100_000) == Cost(three.size + 3 * 256, 7 * 6)
    assert most(three, 100) == Cost(300, 7 * 6)
    assert most(understood("count"), 100) == Cost(0, 0)
    assert expected(one, 100_000) == Cost(one.size // 4, 7)
    assert expected(three, 2).prompt == 6


def test_what_is_left_out_is_named_in_order() -> None:
    fields = {f"field_{number}": 1 for number in (5, 3, 9, 1, 7, 2)}
    assert understood("chat", **fields).ignored == tuple(sorted(fields))


def test_a_text_may_also_be_its_parts() -> None:
    for good in ("x", [{"type": "text", "text": "x"}], []):
        assert understood("messages", system=good).payload["system"] == good
    for bad in (5, {"type": "text"}, ["x"], [{}, 5]):
        assert param("messages", system=bad) == "system"
