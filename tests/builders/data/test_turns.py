"""Turns, columns and answers at their bounds: what is read, and what is a fault."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.data.formats import to_rows
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.sources import Record
from adapterworks.manifests.errors import InvalidInput

USER = {"role": "user", "content": "q"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("good", "bad"))
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "{}"}]}
RESULT = {"role": "tool", "content": "42"}


def read(format: str, renamed: dict[str, str] | None = None, **columns: Any) -> Row:
    (row,) = to_rows([Record(1, columns)], format, source="rows.jsonl", columns=renamed)
    return row


def messages(*turns: Any, **columns: Any) -> Row:
    return read("messages", messages=[*turns], **columns)


def fault(format: str, **columns: Any) -> str:
    """Why a row is none, without what is around it."""
    with pytest.raises(InvalidInput) as caught:
        read(format, **columns)
    return caught.value.message.partition("row 1: ")[2]


def fault_of(*turns: Any, **columns: Any) -> str:
    return fault("messages", messages=[*turns], **columns)


def roles(row: Row) -> list[str]:
    return [turn["role"] for turn in row.messages]


def test_what_follows_the_last_answer_is_left_out_and_nothing_before_it() -> None:
    row = messages(USER, GOOD, USER, BAD, USER, {"role": "system", "content": "x"})
    assert roles(row) == ["user", "assistant", "user", "assistant"]
    assert roles(messages(USER, GOOD)) == ["user", "assistant"]
    assert fault_of(USER, USER) == "the conversation does not end with an assistant turn"


@pytest.mark.parametrize("weight", [1e-6, 0.5, 1e6, 2])
def test_weights_at_their_bounds(weight: float) -> None:
    assert messages(USER, GOOD | {"weight": weight}).messages[1]["weight"] == float(weight)


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (0.9e-6, "turn 2's `weight` is neither 0 nor between 1e-06 and 1e+06"),
        (1.1e6, "turn 2's `weight` is neither 0 nor between 1e-06 and 1e+06"),
        (-0.1, "turn 2's `weight` is not a number from 0, true or false"),
        (float("inf"), "turn 2's `weight` is not a number from 0, true or false"),
        (float("nan"), "turn 2's `weight` is not a number from 0, true or false"),
        ("1", "turn 2's `weight` is not a number from 0, true or false"),
    ],
)
def test_weights_beyond_them(weight: Any, said: str) -> None:
    assert fault_of(USER, GOOD | {"weight": weight}) == said


def test_several_weights_of_a_turn_must_agree() -> None:
    assert "weight" not in messages(USER, GOOD | {"weight": 1, "train": True}).messages[1]
    off = messages(USER, GOOD | {"weight": 0, "loss": False}, USER, BAD)
    assert off.messages[1]["weight"] == 0.0
    assert "weight" not in messages(USER, GOOD | {"weight": None}).messages[1]
    said = fault_of(USER, GOOD | {"weight": 0.5, "loss": True})
    assert said == "turn 2's `weight` and `loss` contradict each other"


def test_weights_of_others_turns_say_nothing_or_are_a_fault() -> None:
    assert "weight" not in messages(USER | {"weight": 0}, GOOD).messages[0]
    said = fault_of(USER | {"loss": 0.5}, GOOD)
    assert said.startswith("turn 1 has `loss`, but only assistant turns are learnt one by one")


def test_a_turn_must_be_an_object_of_a_known_role() -> None:
    assert fault_of("q", GOOD) == "turn 1 is a str, not an object"
    assert fault_of({"content": "q"}, GOOD).startswith("turn 1 has role `None`; known: system, ")
    assert fault_of({"role": 3, "content": "q"}, GOOD).startswith("turn 1 has role `3`")
    shared = [{"from": "bing", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert fault("sharegpt", conversations=shared).startswith("turn 1 has from `bing`; known: hum")


@pytest.mark.parametrize("value", [None, "", [], {}, ()])
def test_an_unknown_key_that_says_nothing_is_passed_over(value: Any) -> None:
    assert messages(USER, GOOD | {"audio": value}).answer == "good"


@pytest.mark.parametrize("value", [0, "x", True, False, [1]])
def test_an_unknown_key_that_says_something_is_a_fault(value: Any) -> None:
    assert fault_of(USER, GOOD | {"audio": value, "x": 1}).startswith(
        "turn 2 has `audio`, `x`, which would be ignored"
    )


def test_parts_of_a_content_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"text": "b"}, {"type": "output_text", "text": "c"}]
    assert messages(USER, GOOD | {"content": parts}).answer == "abc"
    assert messages(USER | {"content": []}, GOOD).messages[0]["content"] == ""
    said = fault_of(USER | {"content": [{"type": "text", "text": "a"}, "b"]}, GOOD)
    assert said == "turn 1 has a part of type `?`; only text is learnt"
    said = fault_of(USER | {"content": [{"type": "text", "text": 3}]}, GOOD)
    assert said == "turn 1's `content` is not text"
    assert fault_of(USER | {"content": None}, GOOD) == "turn 1's `content` is not text"


def test_calls_in_every_spelling_are_one() -> None:
    """OpenAI's, the bare one, one alone in place of a list; arguments as text or as an object."""
    expected = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    for calls in (
        [{"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        [{"name": "f", "arguments": {"a": 1}}],
        {"name": "f", "arguments": '{"a": 1}'},
    ):
        row = messages(USER, GOOD | {"tool_calls": calls})
        assert row.messages[1]["tool_calls"] == [expected]
        assert row.answer == "good", "a text beside a call stays"
    for empty in ("", " ", None, {}):
        row = messages(USER, GOOD | {"tool_calls": [{"name": "f", "arguments": empty}]})
        assert row.messages[1]["tool_calls"][0]["function"]["arguments"] == {}
    named = messages(USER, GOOD | {"tool_calls": [{"name": "f", "id": "7"}]})
    assert named.messages[1]["tool_calls"][0]["id"] == "7"
    assert "id" not in row.messages[1]["tool_calls"][0]
    assert "tool_calls" not in messages(USER, GOOD | {"tool_calls": []}).messages[1]


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ("f()", "turn 2's `tool_calls` is not a list"),
        (["f"], "turn 2 has a tool call without a function's name"),
        ([{"function": {"name": 3}}], "turn 2 has a tool call without a function's name"),
        ([{"function": "f"}], "turn 2 has a tool call without a function's name"),
        ([{"name": "f", "arguments": "[1]"}],
         "turn 2 has a tool call whose arguments are a list, not an object"),
        ([{"name": "f", "arguments": 1}],
         "turn 2 has a tool call whose arguments are a int, not an object"),
    ],
)  # fmt: skip
def test_what_is_no_call(calls: Any, said: str) -> None:
    assert fault_of(USER, GOOD | {"tool_calls": calls}) == said


def test_only_assistants_call_and_results_keep_their_call() -> None:
    said = fault_of(USER | {"tool_calls": [{"name": "f"}]}, GOOD)
    assert said == "turn 1 has `tool_calls`, but its role is `user`"
    row = messages(USER, CALL, RESULT | {"tool_call_id": "7", "name": "f"}, GOOD)
    assert (row.messages[2]["tool_call_id"], row.messages[2]["name"]) == ("7", "f")
    assert fault_of(USER, CALL, RESULT | {"name": 7}, GOOD) == "turn 3's `name` is not text"
    assert "name" not in messages(USER | {"name": ""}, GOOD).messages[0]


def test_a_system_column_is_the_first_turn_unless_there_is_one() -> None:
    assert roles(messages(USER, GOOD, system="s")) == ["system", "user", "assistant"]
    own = messages({"role": "system", "content": "own"}, USER, GOOD, system="s")
    assert [turn["content"] for turn in own.messages] == ["own", "q", "good"]
    for nothing in (None, "", "  "):
        assert roles(messages(USER, GOOD, system=nothing)) == ["user", "assistant"]
    assert fault_of(USER, GOOD, system=3) == "column `system` is a int, not text"


def test_tools_are_a_list_or_its_text() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert messages(USER, GOOD, tools=[tool]).tools == (tool,)
    assert messages(USER, GOOD, tools='[{"name": "f"}]').tools == ({"name": "f"},)
    for nothing in (None, "", " ", [], "[]"):
        assert messages(USER, GOOD, tools=nothing).tools == ()
    for wrong in ('{"name": "f"}', [tool, "f"], 3):
        said = fault_of(USER, GOOD, tools=wrong)
        assert said == "column `tools` is not a list of JSON schemas"


def test_a_column_under_another_name_is_called_by_it() -> None:
    renamed = {"prompt": "question", "completion": "reply"}
    row = read("prompt-completion", renamed, question="q", reply="a", prompt="not this")
    assert (row.question, row.answer, row.meta["prompt"]) == ("q", "a", "not this")
    with pytest.raises(InvalidInput, match=r"row 1: no column `reply` \(it has `question`\)"):
        read("prompt-completion", renamed, question="q")
    with pytest.raises(InvalidInput, match=r"column `reply` is a int, not text"):
        read("prompt-completion", renamed, question="q", reply=3)
    assert fault("text") == "no column `text` (it has none)"
    assert fault("messages", messages=[]) == "column `messages` is not a list of turns"
    assert fault("messages", messages="q") == "column `messages` is not a list of turns"


def test_alpacas_input_and_history() -> None:
    history = [["q1", "a1"], ["q2", "a2"]]
    row = read("instruction", instruction="q3", input=" ", output="a3", history=history)
    said = [turn["content"] for turn in row.messages]
    assert said == ["q1", "a1", "q2", "a2", "q3", "a3"]
    assert roles(row) == ["user", "assistant"] * 3
    assert read("instruction", instruction="q", input="x", output="a").question == "q\n\nx"
    for wrong in ([["q1"]], [["q1", "a1", "b1"]], [["q1", 3]], ["q1"], {"q1": "a1"}, "q1"):
        said_ = fault("instruction", instruction="q", output="a", history=wrong)
        assert said_ == "column `history` is not a list of question and answer"


def preference(**columns: Any) -> tuple[list[str], list[list[str]], int]:
    row = read("preference", **columns)
    texts = [[turn["content"] for turn in answer] for answer in row.answers]
    return [turn["content"] for turn in row.context], texts, row.answer_turns


OTHER = {"role": "user", "content": "other"}
SYSTEM = {"role": "system", "content": "s"}


def test_without_a_prompt_answers_begin_where_they_part_at_an_assistants_turn() -> None:
    """Two that part at a user's turn share only what is before the answer to the turn before."""
    one, two = [USER, GOOD, USER, GOOD], [USER, GOOD, USER, BAD]
    found = preference(chosen=one, rejected=two)
    assert found == (["q", "good", "q"], [["good"], ["bad"]], 1)
    parted = preference(chosen=[USER, GOOD, OTHER, GOOD], rejected=[USER, GOOD, USER, BAD])
    assert parted == (["q"], [["good", "other", "good"], ["good", "q", "bad"]], 3)
    # One goes on where the other ends.
    longer = preference(chosen=[USER, GOOD], rejected=[USER, GOOD, OTHER, BAD])
    assert longer == (["q"], [["good"], ["good", "other", "bad"]], 1)
    assert preference(chosen=[USER, GOOD], rejected=[USER, GOOD]) == (["q"], [["good"]] * 2, 1)
    apart = [{"role": "assistant", "content": "good", "weight": 0}]
    weighted = preference(chosen=[USER, *apart, USER, GOOD], rejected=two)
    assert weighted == (["q", "good", "q"], [["good"], ["bad"]], 1)
    kept = read("preference", chosen=[USER, *apart, USER, GOOD], rejected=two)
    assert kept.context[1]["weight"] == 0.0, "what is shared is as the chosen one has it"
    said = fault("preference", chosen=[GOOD], rejected=[BAD])
    assert said == "`chosen` and `rejected` begin with no common turn, and no `prompt`"


def test_a_prompt_is_taken_off_whole_answers_with_its_system_turn_or_without() -> None:
    for chosen in ([SYSTEM, USER, GOOD], [USER, GOOD], [GOOD], "good"):
        found = preference(prompt=[SYSTEM, USER], chosen=chosen, rejected="bad")
        assert found == (["s", "q"], [["good"], ["bad"]], 1)
    said = fault("preference", prompt=[SYSTEM, USER], chosen=[OTHER, GOOD], rejected="bad")
    assert said == "an answer is a conversation that does not begin with `prompt`"
    said = fault("preference", prompt="q", chosen=[USER], rejected="bad")
    assert said == "the conversation does not end with an assistant turn"
    said = fault("preference", prompt="q", chosen="good", rejected=[USER, GOOD, USER])
    assert said == "the conversation does not end with an assistant turn"


def test_twenty_faults_are_shown_and_the_rest_counted() -> None:
    def refused(count: int) -> str:
        records = [Record(n + 1, {f"c{n}": "x"}) for n in range(count)]
        with pytest.raises(InvalidInput) as caught:
            to_rows(records, "text", source="r.jsonl")
        return caught.value.message

    twenty, more = refused(20), refused(22)
    assert twenty.startswith("`r.jsonl`: 20 of 20 rows are not in format `text`:\n  row 1: no")
    assert "\n  row 20: " in twenty
    assert "more" not in twenty
    assert "\n  row 20: " in more
    assert "\n  row 21: " not in more
    assert more.endswith("\n  and 2 more")


def test_what_is_wrong_in_many_rows_is_said_once() -> None:
    """A column that is misspelled in the manifest is missing in every row."""
    given = [Record(1, {"text": "t"}), *(Record(n, {"q": "x"}) for n in range(2, 302))]
    with pytest.raises(InvalidInput) as caught:
        to_rows([*given, Record(302, {"text": 1})], "text", source="r.jsonl")
    said = caught.value.message.splitlines()
    assert said[0] == "`r.jsonl`: 301 of 302 rows are not in format `text`:"
    many = "row 2: no column `text` (it has `q`); the same in 299 more rows: 3, 4, 5, …"
    assert said[1].strip() == many
    assert said[2].startswith("  row 302: ")
    assert len(said) == 3


def test_columns_that_say_where_a_row_is_are_not_taken_over() -> None:
    given = {"row": 9, "source": "s", "mix": 1, "augmented": True, "replay": True, "code": "R50"}
    row = read("text", text="t", **given)
    theirs = {name: value for name, value in given.items() if name != "code"}
    assert row.meta == {"code": "R50", "row": 1, "columns": theirs}
    half = [USER, GOOD | {"content": "\ud83d"}]
    assert fault("preference", prompt="q", chosen="good", rejected=half).startswith(
        "a text has half a character"
    )
    assert read("text", text="😀甲").text == "😀甲"
