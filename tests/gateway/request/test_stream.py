"""Rewriting a stream: the same events whatever the chunks, and the counts of all of them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapterworks.gateway.request.cost import Cost
from adapterworks.gateway.request.endpoints import Dialect
from adapterworks.gateway.request.stream import Rewriter, rename
from adapterworks.gateway.request.typed.asked import Asked
from adapterworks.gateway.request.typed.chat import Chat
from adapterworks.gateway.request.typed.completions import Completion
from adapterworks.gateway.request.typed.messages import Messages
from adapterworks.gateway.request.typed.responses import Responses
from adapterworks.gateway.request.usage import FASTEST, Counts, Usage, read_counts

DIGEST = "sha256:" + "a" * 64
TRICKY = f'"model":"{DIGEST}" and "usage":{{"prompt_tokens":9}}\n\n data: [DONE]'
HELLO = [{"role": "user", "content": "hello"}]
OPTIONS: dict[str, dict[str, bool]] = {
    "none": {},
    "last": {"include_usage": True},
    "all": {"include_usage": True, "continuous_usage_stats": True},
}
MOST = Cost(1000, 500)


def _chat(keep: str = "none", **fields: Any) -> Chat:
    return Chat.model_validate(
        {
            "model": "m",
            "messages": HELLO,
            "stream": True,
            "stream_options": OPTIONS[keep],
            **fields,
        }
    )


def _rewriter(usage: Usage, asked: Asked | None = None, dialect: Dialect = "openai") -> Rewriter:
    return Rewriter(asked or _chat(), dialect, DIGEST, "médical", usage)


def _line(value: Any, name: str = "", end: str = "\n\n") -> bytes:
    head = f"event: {name}\n" if name else ""
    return (head + "data: " + json.dumps(value, separators=(",", ":")) + end).encode()


def _chunk(text: str, usage: dict[str, Any] | None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}}
    return {"id": "1", "model": DIGEST, "choices": [choice], "usage": usage}


def _counts(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _stream(texts: list[str], end: str = "\n\n") -> bytes:
    events = [_chunk(text, _counts(3, n)) for n, text in enumerate(texts, 1)]
    last = {"id": "1", "model": DIGEST, "choices": [], "usage": events[-1]["usage"]}
    lines = [_line(event, end=end) for event in (*events, last)]
    return b"".join(lines) + b"data: [DONE]" + end.encode()


def _feed(rewriter: Rewriter, data: bytes, cuts: list[int]) -> bytes:
    bounds = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return b"".join(rewriter.feed(data[a:b]) for a, b in itertools.pairwise(bounds))


def _events(data: bytes) -> list[dict[str, Any]]:
    lines = [line for line in data.split(b"\n\n") if line]
    assert lines[-1] == b"data: [DONE]"
    return [json.loads(line.removeprefix(b"data: ")) for line in lines[:-1]]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.one_of(st.text(max_size=20), st.just(TRICKY)), min_size=1, max_size=8),
    st.lists(st.integers(0, 10_000), max_size=20),
    st.sampled_from(["none", "last", "all"]),
    st.sampled_from(["\n\n", "\r\n\r\n"]),
)
def test_chunk_boundaries_do_not_matter(
    texts: list[str], cuts: list[int], keep: str, end: str
) -> None:
    usage = Usage()
    rewriter = _rewriter(usage, _chat(keep))
    events = _events(_feed(rewriter, _stream(texts, end), cuts))
    assert {event["model"] for event in events} == {"médical"}
    told = [event["choices"][0]["delta"]["content"] for event in events if event["choices"]]
    assert told == texts
    counted = {"none": 0, "last": 1, "all": len(texts) + 1}[keep]
    assert sum("usage" in event for event in events) == counted
    assert len(events) == len(texts) + (keep != "none")
    usage.settle(MOST)
    assert (usage.prompt, usage.completion, usage.estimated) == (3, len(texts), False)


def test_an_event_may_have_its_data_on_several_lines() -> None:
    """They are one text, joined by line ends (HTML Living Standard 9.2.6)."""
    usage = Usage()
    whole = json.dumps(_chunk("yes", None), indent=1)
    event = "".join(f"data: {line}\n" for line in whole.splitlines()) + "\n"
    told = _rewriter(usage).feed(event.encode())
    assert json.loads(told.removeprefix(b"data: "))["model"] == "médical"
    assert DIGEST.encode() not in told


def test_counts_are_known_when_a_stream_is_cut() -> None:
    usage = Usage()
    rewriter = _rewriter(usage)
    data = _stream(["a", "b", "c", "d"])
    rewriter.feed(data[: data.index(b'"content":"c"')])
    assert not rewriter.finished
    usage.settle(MOST)
    assert (usage.prompt, usage.completion, usage.estimated) == (3, 2, False)


def test_only_the_answers_own_model_is_renamed() -> None:
    answer = {"model": DIGEST, "choices": [{"text": f'"model":"{DIGEST}"', "model": DIGEST}]}
    rename(answer, DIGEST, "medical")
    assert answer["model"] == "medical"
    assert answer["choices"][0] == {"text": f'"model":"{DIGEST}"', "model": DIGEST}  # type: ignore[index]


def test_several_choices_are_added_up_when_a_stream_is_cut() -> None:
    usage = Usage()
    rewriter = _rewriter(usage, _chat(n=2))
    for index, completion in ((0, 1), (1, 1), (0, 2), (1, 2), (0, 3)):
        rewriter.feed(_line(_chunk("x", _counts(3, completion), index)))
    usage.settle(MOST)
    assert (usage.prompt, usage.completion) == (3, 5)


def test_several_prompts_are_added_up_when_a_stream_is_cut() -> None:
    """Each event counts its own prompt; one that none has come of is charged at its most."""
    asked = Completion.model_validate({"model": "m", "prompt": ["a", "b"], "n": 2, "stream": True})
    for indices, prompt in (((0, 1, 2), 3 + 4), ((0, 1), MOST.prompt)):
        usage = Usage()
        rewriter = _rewriter(usage, asked)
        for index in indices:
            rewriter.feed(_line(_chunk("x", _counts(3 + index // 2, 1), index)))
        usage.settle(MOST)
        assert (usage.prompt, usage.completion) == (prompt, len(indices))


@pytest.mark.parametrize(
    "counts",
    [
        None,
        {},
        [],
        "5",
        {"prompt_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 1, "completion_tokens": -2},
        {"prompt_tokens": 1, "completion_tokens": 2.0},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": "1", "completion_tokens": 2},
        {"prompt_tokens": 2**60, "completion_tokens": 2},
    ],
)
def test_a_stream_without_a_usable_count_is_charged_at_its_most(counts: Any) -> None:
    if isinstance(counts, dict) and counts.get("prompt_tokens") == 5:
        counts = {**counts, "completion_tokens": "many"}
    usage = Usage()
    rewriter = _rewriter(usage)
    rewriter.feed(_line(_chunk("a", counts)))
    rewriter.feed(_line({"model": DIGEST, "choices": [], "usage": counts}) + b"data: [DONE]\n\n")
    assert rewriter.finished
    usage.settle(MOST)
    assert (usage.prompt, usage.completion, usage.estimated) == (1000, 500, True)


def test_a_later_count_never_takes_back_an_earlier_one() -> None:
    usage = Usage()
    rewriter = _rewriter(usage)
    for prompt, completion in ((7, 9), (0, 0), (7, 1)):
        counts = _counts(prompt, completion)
        rewriter.feed(_line({"model": DIGEST, "choices": [], "usage": counts}))
    rewriter.feed(b"data: [DONE]\n\n")
    usage.settle(MOST)
    assert (usage.prompt, usage.completion) == (7, 9)


def test_a_stream_that_is_left_before_its_first_event_costs_its_prompt() -> None:
    usage = Usage()
    _rewriter(usage)
    usage.settle(MOST)
    assert (usage.prompt, usage.completion, usage.estimated) == (1000, 0, True)


@pytest.mark.parametrize("space", [b"", b" ", b"   "])
def test_a_blank_before_the_data_is_the_senders_choice(space: bytes) -> None:
    """One line or several, and with a name: what is in it is read either way."""
    data = json.dumps(_chunk("hello", None)).encode()
    for head in (b"", b"event: chunk\n"):
        passed = _rewriter(Usage()).feed(head + b"data:" + space + data + b"\n\n")
        assert passed.startswith(head + b"data: {")
        event = json.loads(passed.partition(b"data: ")[2])
        assert event["model"] == "médical"
        assert event["choices"][0]["delta"] == {"content": "hello"}


def test_comments_and_what_is_no_json_pass_as_they_are() -> None:
    rewriter = _rewriter(Usage())
    for event in (b": keep-alive\n\n", b"data: {broken\n\n", b"data: 5\n\n", b"id: 7\n\n"):
        assert rewriter.feed(event) == event
    assert not rewriter.finished


SHOWN = '"usage":{"input_tokens":1}'


def _responses(*usages: Any, tools: Any = ()) -> bytes:
    begun = {"model": DIGEST, "tools": tools, "usage": None}
    data = _line({"type": "response.created", "response": begun}, "response.created")
    delta = {"type": "response.output_text.delta", "delta": SHOWN}
    data += 3 * _line(delta, "response.output_text.delta")
    for usage in usages:
        last = {"type": "response.completed", "response": {**begun, "usage": usage}}
        data += _line(last, "response.completed")
    return data


RESPONSES_USAGE = {
    "input_tokens": 312,
    "input_tokens_details": {"cached_tokens": 128},
    "output_tokens": 8,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 320,
}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"input_tokens": 0, "output_tokens": 0},
        {"input_tokens": 0, "output_tokens": -1_000_000},
        {"input_tokens": "x"},
    ],
)
def test_a_tool_with_a_parameter_called_usage_is_no_count(schema: dict[str, Any]) -> None:
    tools = [
        {"type": "function", "name": "report", "parameters": {"properties": {"usage": schema}}}
    ]
    asked = Responses.model_validate({"model": "m", "input": "x", "stream": True, "tools": tools})
    usage = Usage()
    rewriter = _rewriter(usage, asked, "responses")
    told = rewriter.feed(_responses(RESPONSES_USAGE, tools=tools))
    assert rewriter.finished
    assert DIGEST.encode() not in told
    assert json.dumps(schema, separators=(",", ":")).encode() in told
    usage.settle(MOST)
    assert (usage.prompt, usage.completion) == (312, 8)
    assert (usage.cached, usage.reasoning, usage.estimated) == (128, 5, False)


def test_a_response_that_is_left_is_charged_its_prompt_and_what_was_seen() -> None:
    seen = 3 * len(SHOWN)
    for fields, completion in (({}, seen), ({"include_reasoning": False}, MOST.completion)):
        asked = Responses.model_validate({"model": "m", "input": "x", "stream": True, **fields})
        usage = Usage()
        rewriter = _rewriter(usage, asked, "responses")
        rewriter.feed(_responses())
        assert not rewriter.finished
        usage.settle(MOST)
        assert (usage.prompt, usage.completion, usage.estimated) == (1000, completion, True)


def test_a_response_that_ends_without_a_count_is_charged_at_its_most() -> None:
    asked = Responses.model_validate({"model": "m", "input": "x", "stream": True})
    usage = Usage()
    rewriter = _rewriter(usage, asked, "responses")
    rewriter.feed(_responses(None))
    assert rewriter.finished
    usage.settle(MOST)
    assert (usage.prompt, usage.completion, usage.estimated) == (1000, 500, True)


def _message(final: bool) -> bytes:
    start = {"model": DIGEST, "usage": {"input_tokens": 460, "output_tokens": 0}}
    data = _line({"type": "message_start", "message": start}, "message_start")
    delta = {"type": "content_block_delta", "index": 0, "delta": {"text": "x"}}
    data += 4 * _line(delta, "content_block_delta")
    if final:
        counts = {
            "input_tokens": 76,
            "cache_read_input_tokens": 256,
            "cache_creation_input_tokens": 128,
            "output_tokens": 12,
        }
        data += _line({"type": "message_delta", "usage": counts}, "message_delta")
        data += _line({"type": "message_stop"}, "message_stop")
    return data


@pytest.mark.parametrize(("final", "completion", "cached"), [(True, 12, 256), (False, 4, 0)])
def test_a_message_counts_what_came_from_the_cache(
    final: bool, completion: int, cached: int
) -> None:
    asked = Messages.model_validate(
        {"model": "m", "messages": HELLO, "max_tokens": 20, "stream": True}
    )
    usage = Usage()
    rewriter = _rewriter(usage, asked, "anthropic")
    told = rewriter.feed(_message(final))
    assert told.startswith(b"event: message_start\ndata: {")
    assert rewriter.finished is final
    usage.settle(MOST)
    assert (usage.prompt, usage.completion, usage.cached) == (460, completion, cached)
    assert usage.estimated is not final


TEN = "ten tokens — or as many as a speculating engine makes at once"


@pytest.mark.parametrize("most", [Cost(9, 500), Cost(9, 20)])
@pytest.mark.parametrize(
    ("dialect", "delta"),
    [
        ("responses", {"type": "response.output_text.delta", "delta": TEN}),
        ("responses", {"type": "response.function_call_arguments.delta", "delta": TEN}),
        ("anthropic", {"type": "content_block_delta", "delta": {"type": "a", "text": TEN}}),
        ("anthropic", {"type": "content_block_delta", "delta": {"type": "a", "thinking": TEN}}),
        ("anthropic", {"type": "content_block_delta", "delta": {"type": "a", "partial_json": TEN}}),
    ],
)
def test_a_delta_is_as_many_tokens_as_it_can_be_until_they_are_counted(
    dialect: Dialect, delta: dict[str, Any], most: Cost
) -> None:
    """An event may show the tokens of several steps, or of one step that made several."""
    asked = Responses.model_validate({"model": "m", "input": "x", "stream": True})
    usage = Usage()
    rewriter = _rewriter(usage, asked, dialect)
    rewriter.feed(2 * _line(delta, delta["type"]))
    usage.settle(most)
    assert usage.completion == min(2 * len(TEN.encode()), most.completion)
    assert usage.completion >= 20
    assert usage.estimated


FAILED = "worker at http://10.0.0.3:8000 died: /root/x"


@pytest.mark.parametrize(
    ("dialect", "events"),
    [
        ("openai", [{"error": {"message": FAILED, "code": 500}}]),
        ("openai", [{"error": FAILED}]),
        ("responses", [{"type": "response.failed", "response": {"error": {"message": FAILED}}}]),
        ("responses", [{"type": "error", "message": FAILED, "error": {"message": FAILED}}]),
        ("anthropic", [{"type": "error", "error": {"type": "x", "message": FAILED}}]),
        ("anthropic", [{"type": "error"}]),
    ],
)
def test_of_a_failure_and_after_it_nothing_is_passed_on(
    dialect: Dialect, events: list[dict[str, Any]]
) -> None:
    seen: list[dict[str, Any]] = []
    rewriter = Rewriter(_chat(), dialect, DIGEST, "m", Usage(), seen.append)
    first = {"model": DIGEST, "type": "ping", "choices": [{"index": 0}], "error": None}
    assert rewriter.failed is None
    told = rewriter.feed(_line(first) + b"".join(_line(event) for event in events))
    assert told.count(b"data: ") == 1
    assert b'"ping"' in told
    told = b""
    told += rewriter.feed(_line({"type": "message_stop", "choices": []}) + b"data: [DONE]\n\n")
    assert told == b""
    assert len(seen) == 1
    assert rewriter.failed is not None
    assert "10.0.0.3" not in rewriter.failed
    assert not rewriter.finished


def test_what_came_from_a_cache_is_part_of_the_prompt() -> None:
    """Anthropic's `input_tokens` leave it out, as vLLM does in whole answers too."""
    counts = read_counts(
        {
            "input_tokens": 76,
            "cache_read_input_tokens": 256,
            "cache_creation_input_tokens": 128,
            "output_tokens": 12,
        }
    )
    assert counts == Counts(460, 12, 256, 0)


def test_counts_that_came_with_events_are_known_without_a_last_one() -> None:
    usage = Usage()
    rewriter = _rewriter(usage)
    odd = [{"model": DIGEST, "choices": c, "usage": _counts(3, 1)} for c in ([5], 5, None, {})]
    odd += [_chunk("a", _counts(3, 1), index) for index in ("0", None)]  # type: ignore[arg-type]
    for event in (*odd, _chunk("a", _counts(3, 1)), _chunk("b", _counts(3, 2)), _chunk("", None)):
        rewriter.feed(_line(event))
    rewriter.feed(b"data: [DONE]\n\n")
    assert rewriter.finished
    usage.settle(MOST)
    assert (usage.prompt, usage.completion, usage.estimated) == (3, 2, False)


def test_what_no_event_has_shown_is_charged_by_the_time_that_there_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two answers with tools: one has ended, of the other nothing came for a second."""
    now = 100.0
    monkeypatch.setattr("adapterworks.gateway.request.stream.time.monotonic", lambda: now)
    tool = {"type": "function", "function": {"name": "f"}}
    most = Cost(1000, 5000)
    for asked in (_chat(n=2, tools=[tool]), _chat(n=2, include_reasoning=False)):
        usage = Usage()
        rewriter = _rewriter(usage, asked)
        ended = _chunk("b", _counts(3, 4), 1)
        ended["choices"][0]["finish_reason"] = "stop"
        for event in (_chunk("a", _counts(3, 7)), _chunk("b", _counts(3, 2), 1), ended):
            rewriter.feed(_line(event))
        now += 1.0
        usage.settle(most)
        usage.settle(most)
        assert (usage.completion, usage.estimated) == (7 + 4 + FASTEST, True)
    # Never more than it can be, and nothing where every event shows what was made.
    usage = Usage()
    _rewriter(usage, _chat(tools=[tool])).feed(_line(_chunk("a", _counts(3, 7))))
    now += 60.0
    usage.settle(most)
    assert usage.completion == 5000
    for asked in (_chat(), _chat(tools=[tool], tool_choice="none")):
        usage = Usage()
        _rewriter(usage, asked).feed(_line(_chunk("a", _counts(3, 7))))
        now += 60.0
        usage.settle(most)
        assert (usage.completion, usage.estimated) == (7, False)


def test_a_stream_that_ends_costs_what_the_engine_counted_though_it_hid_some() -> None:
    usage = Usage()
    rewriter = _rewriter(usage, _chat(include_reasoning=False))
    rewriter.feed(_stream(["a", "b"]))
    usage.settle(MOST)
    assert (usage.completion, usage.estimated) == (2, False)
