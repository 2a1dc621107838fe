"""What a request is, decided once: a value that means nothing, or two things, is a named 400."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapterworks.gateway.request import body as edge
from adapterworks.gateway.request.body import parse_body
from adapterworks.gateway.request.cost import demanded, expected, most
from adapterworks.gateway.request.endpoints import (
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    EMBEDDINGS,
    ENDPOINTS,
    GENERATE,
    MESSAGES,
    RESPONSES,
    Call,
    Endpoint,
    parse,
)
from adapterworks.gateway.request.errors import InvalidField, error_body
from adapterworks.manifests.errors import InvalidInput
from tests.gateway.running import Running

HELLO = [{"role": "user", "content": "hello"}]
ENOUGH: dict[str, tuple[Endpoint, dict[str, Any]]] = {
    "chat": (CHAT, {"model": "m", "messages": HELLO}),
    "completions": (COMPLETIONS, {"model": "m", "prompt": "x"}),
    "responses": (RESPONSES, {"model": "m", "input": "x"}),
    "messages": (MESSAGES, {"model": "m", "messages": HELLO, "max_tokens": 5}),
    "count": (COUNT_TOKENS, {"model": "m", "messages": HELLO}),
    "embeddings": (EMBEDDINGS, {"model": "m", "input": "x"}),
    "generate": (GENERATE, {"adapter": "m", "prompt": "x"}),
}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def understood(name: str, **fields: Any) -> Call:
    endpoint, least = ENOUGH[name]
    return parse(endpoint, parse_body(json.dumps({**least, **fields}).encode()))


def param(name: str, **fields: Any) -> str | None:
    """The field that is to blame."""
    with pytest.raises(InvalidField) as caught:
        understood(name, **fields)
    error = json.loads(error_body(caught.value))["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] is None or f"`{error['param']}" in error["message"]
    found: str | None = error["param"]
    return found


@pytest.mark.parametrize("name", ENOUGH)
def test_the_least_request_is_one_sequence_to_one_prompt(name: str) -> None:
    call = understood(name)
    asked = call.asked
    assert (asked.model, asked.stream, asked.prompts, asked.sequences) == ("m", False, 1, 1)
    assert call.ignored == ()
    assert understood(name, stream=None, max_tokens_of_nobody=None).asked == asked


NO_FLAG = ("true", "false", 1, 0, 1.0, "yes", [], {})
NO_COUNT = (0, -1, 1.0, "5", True, [1], {}, 10**400, -(10**400), 2**31, 1e30)


@pytest.mark.parametrize("name", ["chat", "completions", "responses", "messages"])
def test_a_stream_is_true_or_false(name: str) -> None:
    for value in NO_FLAG:
        assert param(name, stream=value) == "stream"
    assert understood(name, stream=True).asked.stream is True
    assert understood(name, stream=None).asked.stream is False


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("chat", "max_tokens"),
        ("chat", "max_completion_tokens"),
        ("completions", "max_tokens"),
        ("responses", "max_output_tokens"),
        ("messages", "max_tokens"),
        ("generate", "max_tokens"),
        ("chat", "n"),
        ("completions", "n"),
    ],
)
def test_a_count_is_a_whole_number_from_one(name: str, field: str) -> None:
    for value in NO_COUNT:
        assert param(name, **{field: value}) == field
    asked = understood(name, **{field: 3}).asked
    assert (asked.choices if field == "n" else asked.limit) == 3


def test_the_spelling_of_another_endpoint_is_refused() -> None:
    spellings = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")
    for name, own in (
        ("chat", {"max_tokens", "max_completion_tokens"}),
        ("completions", {"max_tokens"}),
        ("responses", {"max_output_tokens"}),
        ("messages", {"max_tokens"}),
    ):
        for field in set(spellings) - own:
            assert param(name, **{field: 5}) == field


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"model": 7}, "model"),
    ("chat", {"model": ""}, "model"),
    ("chat", {"model": "x" * 4_000_000}, "model"),
    ("chat", {"messages": []}, "messages"),
    ("chat", {"messages": "hi"}, "messages"),
    ("chat", {"messages": [5]}, "messages"),
    ("chat", {"messages": [{"content": "x"}]}, "messages"),
    ("chat", {"messages": [{"role": "user", "content": 5}]}, "messages"),
    ("chat", {"n": 129}, "n"),
    ("chat", {"stream_options": {}}, "stream_options"),
    ("chat", {"stream": True, "stream_options": 5}, "stream_options"),
    ("chat", {"stream": True, "stream_options": {"include_usage": 1}}, "stream_options"),
    ("chat", {"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
    ("chat", {"max_tokens": 3, "min_tokens": 4}, "min_tokens"),
    ("chat", {"stop": 5}, "stop"),
    ("chat", {"stop": ["a", 5]}, "stop"),
    ("chat", {"user": 5}, "user"),
    ("chat", {"user": "a\0b"}, "user"),
    ("chat", {"logprobs": 1}, "logprobs"),
    ("chat", {"top_logprobs": 3}, "top_logprobs"),
    ("chat", {"echo": True}, "echo"),
    ("chat", {"prompt_logprobs": 0}, "prompt_logprobs"),
    ("chat", {"tools": [{}]}, "tools"),
    ("chat", {"tools": []}, "tools"),
    ("chat", {"tools": [{"type": "function", "function": {}}]}, "tools"),
    ("chat", {"tool_choice": "auto"}, "tool_choice"),
    ("chat", {"tool_choice": 5, "tools": [FUNCTION]}, "tool_choice"),
    (
        "chat",
        {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [FUNCTION]},
        "tool_choice",
    ),
    ("chat", {"functions": [{"name": "f"}]}, "functions"),
    ("chat", {"function_call": "auto"}, "function_call"),
    ("chat", {"response_format": "json"}, "response_format"),
    ("chat", {"response_format": {"type": "yaml"}}, "response_format"),
    ("chat", {"response_format": {"type": "json_schema"}}, "response_format"),
    ("chat", {"structured_outputs": 5}, "structured_outputs"),
    ("chat", {"top_k": 2**70}, "top_k"),
    ("chat", {"temperature": "0"}, "temperature"),
    ("chat", {"temperature": -1}, "temperature"),
    ("chat", {"seed": 2**63}, "seed"),
    ("chat", {"logit_bias": {"5": "x"}}, "logit_bias"),
    ("chat", {"metadata": 5}, "metadata"),
    ("chat", {"store": "yes"}, "store"),
    ("chat", {"verbosity": "low"}, "verbosity"),
    ("chat", {"guided_json": {}}, "guided_json"),
    ("chat", {"best_of": 4}, "best_of"),
    ("chat", {"use_beam_search": True}, "use_beam_search"),
    ("chat", {"modalities": ["text", "audio"]}, "modalities"),
    ("completions", {"prompt": ""}, "prompt"),
    ("completions", {"prompt": []}, "prompt"),
    ("completions", {"prompt": 5}, "prompt"),
    ("completions", {"prompt": ["a", 1]}, "prompt"),
    ("completions", {"prompt": [[]]}, "prompt"),
    ("completions", {"prompt": [True]}, "prompt"),
    ("completions", {"prompt": [-1]}, "prompt"),
    ("completions", {"prompt": [2**40]}, "prompt"),
    ("completions", {"prompt": ["a"] * 1025}, "prompt"),
    ("completions", {"echo": True, "logprobs": 0, "stream": True}, "logprobs"),
    ("completions", {"prompt_logprobs": 0, "stream": True}, "prompt_logprobs"),
    ("completions", {"prompt_logprobs": -1}, "prompt_logprobs"),
    ("completions", {"logprobs": False}, "logprobs"),
    ("messages", {"prompt_logprobs": 0}, "prompt_logprobs"),
    ("completions", {"best_of": 2}, "best_of"),
    ("completions", {"max_tokens": 0, "echo": False}, "max_tokens"),
    ("responses", {"n": 2}, "n"),
    ("responses", {"input": 5}, "input"),
    ("responses", {"input": [5]}, "input"),
    ("responses", {"prompt_logprobs": 0}, "prompt_logprobs"),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", {"background": True}, "background"),
    ("responses", {"response_format": {"type": "text"}}, "response_format"),
    ("messages", {"max_tokens": None}, "max_tokens"),
    ("messages", {"stop": ["x"]}, "stop"),
    ("messages", {"n": 2}, "n"),
    ("messages", {"tools": [{"name": 5}]}, "tools"),
    ("embeddings", {"stream": True}, "stream"),
    ("count", {"messages": "hi"}, "messages"),
    ("count", {"n": 2}, "n"),
    ("generate", {"stream": True}, "stream"),
    ("generate", {"prompt": 5}, "prompt"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "field"), WRONG, ids=lambda v: str(v)[:40])
def test_a_wrong_field_is_named(name: str, fields: dict[str, Any], field: str) -> None:
    assert param(name, **fields) == field


@pytest.mark.parametrize(
    ("fields", "scored"),
    [
        ({"prompt_logprobs": 0}, True),
        ({"echo": True, "logprobs": 0}, True),
        ({"logprobs": 1}, False),
        ({"echo": True}, False),
        ({"echo": False, "logprobs": 1}, False),
    ],
)
def test_whether_a_prompt_is_to_be_scored_is_known_at_the_edge(
    fields: dict[str, Any], scored: bool
) -> None:
    """Zero asks too: an engine that cannot must not be sent it."""
    call = understood("completions", **fields)
    assert call.asked.scores_prompt is scored
    assert fields.items() <= call.payload.items()


def test_a_value_that_asks_for_nothing_is_no_fault() -> None:
    neutral = {
        "functions": [], "function_call": "none", "best_of": 1, "verbosity": "medium",
        "modalities": ["text"], "use_beam_search": False, "echo": False, "guided_json": None,
        "prompt_logprobs": None, "logprobs": False, "stop": None, "tools": None,
    }  # fmt: skip
    call = understood("chat", **neutral)
    assert call.payload == {"model": "m", "messages": HELLO, "echo": False, "logprobs": False}
    assert call.ignored == ()
    assert understood("completions", best_of=3, n=3).payload.keys() == {"model", "prompt", "n"}


def test_what_the_engine_is_sent_is_what_was_read() -> None:
    fields = {"store": True, "metadata": {"a": "b"}, "safety_identifier": "u", "priority": 1}
    call = understood("chat", user="me", max_tokens=7, n=2, **fields)
    assert call.payload.keys() == {"model", "messages", "user", "max_tokens", "n"}
    assert call.ignored == ("priority",)
    assert call.asked.end_user == "me"
    assert understood("chat", safety_identifier="u").asked.end_user == "u"
    assert understood("messages", metadata={"user_id": "u"}).asked.end_user == "u"
    assert understood("generate", max_tokens=3).payload == {
        "model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("x", 1), ([1, 2, 3], 1), (["a", "b", "c"], 3), ([[1], [2, 3]], 2)],
)
def test_sequences_are_prompts_times_choices(prompt: Any, prompts: int) -> None:
    asked = understood("completions", prompt=prompt, n=4).asked
    assert (asked.prompts, asked.choices, asked.sequences) == (prompts, 4, prompts * 4)
    assert understood("chat", n=5).asked.sequences == 5


def test_anthropics_shape_and_usage_in_streams_are_the_endpoints() -> None:
    assert [e.path for e in ENDPOINTS if e.anthropic] == [
        "/v1/messages", "/v1/messages/count_tokens",
    ]  # fmt: skip
    assert [e.path for e in ENDPOINTS if e.usage_in_stream] == [
        "/v1/chat/completions", "/v1/completions",
    ]  # fmt: skip


def test_which_counts_of_a_stream_the_client_asked_for() -> None:
    for options, keep in (
        ({}, "none"),
        ({"include_usage": True}, "last"),
        ({"include_usage": True, "continuous_usage_stats": True}, "all"),
        ({"continuous_usage_stats": True}, "none"),
    ):
        assert understood("chat", stream=True, stream_options=options).asked.keep == keep
    assert understood("responses", stream=True).asked.keep == "all"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"5", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}', b'{"a": 1, "a": 2}', b'{"b": [{"a": 1, "a": 1}]}', b"[" * 100_000,
        b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", '{"a": 1}'.encode("utf-16"),
    ],
    ids=lambda data: str(data)[:24],
)  # fmt: skip
def test_a_body_that_readers_might_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_body(data)


@pytest.mark.parametrize(
    "inside",
    [
        ", ".join(f'"{n}":1' for n in range(100_001)),
        # Escaped quotes and backslashes are no way around it.
        ",".join(f'"\\"{n}" :""' for n in range(50_001)),
        ",".join(f'"{n}\\\\":1' for n in range(100_001)),
        '"a":[' + ",".join(["{}"] * 50_001) + "]",
        '"a":[' + ",".join(["[]"] * 50_001) + "]",
        '"a":[' + ",".join(["1"] * 600_001) + "]",
    ],
    ids=["keys", "quotes", "backslashes", "objects", "lists", "numbers"],
)
def test_a_body_that_holds_more_than_anybody_needs_is_refused_before_it_is_parsed(
    inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parsed(*_: Any, **__: Any) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(edge, "from_json", parsed)
    monkeypatch.setattr(edge.json, "loads", parsed)
    with pytest.raises(InvalidInput, match="the body holds more than") as caught:
        parse_body(b"{" + inside.encode() + b"}")
    assert caught.value.hint == "send it in several requests"


def test_texts_may_look_as_they_like_and_a_thousand_be_embedded_as_token_ids() -> None:
    code = 'if (a["b"] == {x: [1, 2]}) { f("\\\\"); } ' * 60_000
    assert parse_body(json.dumps({"a": code}).encode()).values == {"a": code}
    ids = [[50_000] * 500] * 1000
    assert parse_body(json.dumps({"input": ids}).encode()).values["input"] == ids
    turns = [{"role": "user", "content": "so"}] * 10_000
    assert parse_body(json.dumps({"messages": turns}).encode()).values["messages"] == turns


def test_a_number_beyond_every_reader_is_refused_wherever_it_stands() -> None:
    with pytest.raises(InvalidInput, match="out of range"):
        understood("chat", chat_template_kwargs={"a": [10**30]})
    assert understood("chat", chat_template_kwargs={"a": [10**18]}).payload["model"] == "m"


def test_what_is_reserved_is_the_room_that_is_left() -> None:
    assert expected(understood("chat"), 2048).total == 2048
    bounded = understood("chat", max_tokens=100, n=3)
    assert expected(bounded, 2048).completion == 300
    assert demanded(bounded, 2048) == expected(bounded, 2048).total
    assert demanded(understood("chat"), 2048) < 100
    assert expected(understood("chat", max_tokens=10**9), 2048).total == 2048
    prompts = understood("completions", prompt=["hello"] * 200, max_tokens=100)
    assert expected(prompts, 2048).completion == 20_000
    assert expected(understood("completions"), 2048).completion == 16
    assert expected(understood("embeddings"), 2048).completion == 0


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(min_size=1), st.integers(1, 5), st.integers(1, 3), st.integers(1, 5000))
def test_the_most_is_never_below_what_an_engine_can_count(
    text: str, prompts: int, choices: int, limit: int
) -> None:
    """A token is at least a byte; a prompt and its answer fit into the context."""
    texts = [text] * prompts
    call = understood("completions", prompt=texts, n=choices, max_tokens=limit)
    context = 512
    cost = most(call, context)
    counted = sum(min(len(t.encode()), context) for t in texts)
    assert cost.prompt >= counted
    assert cost.completion == min(limit, context) * prompts * choices


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(sorted(ENOUGH)))
def test_whatever_a_field_holds_it_is_understood_or_named(data: st.DataObject, name: str) -> None:
    endpoint, least = ENOUGH[name]
    fields = sorted({*endpoint.type.model_fields, *endpoint.refused, *least})
    body = {**least, **data.draw(st.dictionaries(st.sampled_from(fields), JSON, max_size=3))}
    try:
        call = parse(endpoint, parse_body(json.dumps(body).encode()))
    except InvalidInput:
        return
    assert type(call.asked.stream) is bool
    assert 1 <= call.asked.sequences <= 1024 * 128
    for context in (1, 2048):
        assert 0 <= demanded(call, context) <= expected(call, context).total
        assert expected(call, context).completion <= most(call, context).completion


def test_a_field_is_named_in_either_shape_of_error(on_standin: Running) -> None:
    with on_standin.http() as http:
        chat = {"model": "medical", "messages": HELLO, "stream": "true"}
        answer = http.post("/v1/chat/completions", json=chat)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "stream"
        answer = http.post("/v1/messages", json={**chat, "max_tokens": 1})
        assert answer.status_code == 400
        assert answer.json()["type"] == "error"
        assert "`stream`" in answer.json()["error"]["message"]
        unknown = http.post("/generate", json={"adapter": "medical", "prompt": "x", "foo": 1})
        assert "unknown field `foo`" in unknown.json()["error"]["message"]
