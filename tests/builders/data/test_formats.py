"""Formats as the field writes them, read as they are; bad rows by number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from adapterworks.builders.data.formats import FORMATS, to_rows
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.sources import Record
from adapterworks.manifests.errors import InvalidInput

OLD_CHAT = "sha256:ec2b7f727adb5ff7c2f9e51a7ad58eb7348573707814c1a977838d6a7f9e240e"
OLD_TEXT = "sha256:832cb5683bf7f26fbeadca3081eb173f2e74c38aece8341bbfb566c39d1fcc3f"
ASK = {"role": "user", "content": "q"}
CHAT = [("user", "甲型肝炎的编码?"), ("assistant", "B15 急性甲型肝炎")]


def read(
    format: str,
    *columns: Mapping[str, Any],
    renamed: Mapping[str, str] | None = None,
    ignored: tuple[str, ...] = (),
) -> tuple[Row, ...]:
    records = [Record(number, dict(values)) for number, values in enumerate(columns, 1)]
    return to_rows(records, format, source="rows.jsonl", columns=renamed, ignore=ignored)


def turns(row: Row) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row.messages]


@pytest.mark.parametrize(
    ("format", "columns"),
    [
        ("messages", {"messages": [{"role": role, "content": text} for role, text in CHAT]}),
        ("instruction", {"instruction": CHAT[0][1], "input": "", "output": CHAT[1][1]}),
        ("prompt-completion", {"prompt": CHAT[0][1], "completion": CHAT[1][1]}),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "human", "value": CHAT[0][1]},
                    {"from": "gpt", "value": CHAT[1][1]},
                    {"from": "human", "value": "谢谢"},
                ]
            },
        ),
    ],
)
def test_every_chat_format_gives_the_same_row(format: str, columns: dict[str, Any]) -> None:
    (row,) = read(format, columns)
    assert turns(row) == CHAT
    assert row.question == CHAT[0][1]
    assert row.answer == CHAT[1][1]
    assert row.number == 1


def test_alpaca_input_follows_the_instruction() -> None:
    (row,) = read("instruction", {"instruction": "Translate", "input": "Hund", "output": "dog"})
    assert row.question == "Translate\n\nHund"


SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = [
    SYSTEM,
    {"role": "user", "content": "Q1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "Q2"},
]
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("good", "bad"))


@pytest.mark.parametrize(
    ("format", "columns"),
    [
        ("messages", {"messages": [*ASKED, GOOD]}),
        ("prompt-completion", {"prompt": ASKED, "completion": [GOOD]}),
        ("prompt-completion", {"prompt": ASKED, "completion": "good"}),
        ("prompt-completion", {"prompt": ASKED[1:], "completion": "good", "system": "Be brief."}),
        ("preference", {"prompt": ASKED, "chosen": [GOOD], "rejected": [BAD]}),
        ("preference", {"prompt": ASKED, "chosen": "good", "rejected": "bad"}),
        ("preference", {"chosen": [*ASKED, GOOD], "rejected": [*ASKED, BAD]}),
        ("preference", {"prompt": ASKED, "chosen": [*ASKED, GOOD], "rejected": [*ASKED, BAD]}),
        (
            "instruction",
            {
                "instruction": "Q2",
                "output": "good",
                "system": "Be brief.",
                "history": [["Q1", "A1"]],
            },
        ),
        (
            "sharegpt",
            {
                "system": "Be brief.",
                "conversations": [
                    {"from": "human", "value": "Q1"},
                    {"from": "gpt", "value": "A1"},
                    {"from": "human", "value": "Q2"},
                    {"from": "gpt", "value": "good"},
                ],
            },
        ),
    ],
)
def test_a_prompt_of_several_turns_keeps_its_question(format: str, columns: dict[str, Any]) -> None:
    """Once a prompt lost its last turn, being taken for a conversation that was never answered."""
    (row,) = read(format, columns)
    given = [(turn["role"], turn["content"]) for turn in (*ASKED, GOOD)]
    assert turns(row) == given
    assert row.question == "Q2"
    assert [turn["content"] for turn in row.prompt] == ["Be brief.", "Q1", "A1", "Q2"]


def test_a_prompts_own_answers_are_given_not_learnt() -> None:
    (row,) = read("prompt-completion", {"prompt": ASKED, "completion": "good"})
    assert [turn.get("weight", 1.0) for turn in row.messages] == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert all("weight" not in turn for turn in row.prompt), "the engine is not told"


def test_preference_has_both_answers_after_what_they_share() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "code", "arguments": "{}"}]}
    result = {"role": "tool", "content": "R50"}
    for columns in (
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {
            "chosen": [{"role": "user", "content": "q"}, GOOD],
            "rejected": [{"role": "user", "content": "q"}, BAD],
        },
    ):
        (row,) = read("preference", columns)
        assert (row.kind, row.answer, row.answer_turns) == ("comparison", "good", 1)
        assert row.answers == ((GOOD,), (BAD,))
        assert [turn["content"] for turn in row.context] == ["q"]
        assert turns(row.answered(1)) == [("user", "q"), ("assistant", "bad")]
    (row,) = read("preference", {"prompt": ASKED, "chosen": "good", "rejected": "bad"})
    learnt = [turn.get("weight", 1.0) for turn in row.answered(1).messages]
    assert learnt == [1.0, 1.0, 0.0, 1.0, 1.0], "what both go on from is not learnt"
    (row,) = read("preference", {"prompt": "q", "chosen": [call, result, GOOD], "rejected": "bad"})
    assert row.answer_turns == 3
    assert [turn["content"] for turn in row.context] == ["q"]
    assert [turn["role"] for turn in row.answered(0).messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_preference_whose_answers_are_of_other_prompts_is_a_fault() -> None:
    other = [{"role": "user", "content": "other"}, GOOD]
    with pytest.raises(InvalidInput, match="does not begin with `prompt`"):
        read("preference", {"prompt": "q", "chosen": other, "rejected": "bad"})
    with pytest.raises(InvalidInput, match="no common turn"):
        read("preference", {"chosen": other, "rejected": [{"role": "user", "content": "q"}, BAD]})


def test_other_columns_are_the_rows_meta() -> None:
    (row,) = read(
        "prompt-completion",
        {"prompt": "q", "answer": "a", "rule": "E501", "tags": ["x"], "row": 7},
        renamed={"completion": "answer"},
    )
    assert row.meta == {"rule": "E501", "tags": ["x"], "row": 1, "columns": {"row": 7}}


def test_weights_and_flags_of_turns() -> None:
    """OpenAI's `weight`, Axolotl's `train`, ms-swift's `loss`."""
    for key, off, on in (("weight", 0, 1), ("train", False, True), ("loss", False, True)):
        asked = {"role": "user", "content": "q"}
        (row,) = read(
            "messages",
            {"messages": [asked, GOOD | {key: off}, asked | {key: off}, BAD | {key: on}]},
        )
        assert [turn.get("weight") for turn in row.messages] == [None, 0.0, None, None]
    plain = [{"role": "user", "content": "q"}, GOOD]
    half = [{"role": "user", "content": "q"}, GOOD | {"weight": 0.5}]
    (one,), (same,), (other,) = (
        read("messages", {"messages": turns})
        for turns in (plain, [plain[0], GOOD | {"weight": 1}], half)
    )
    assert one.digest == same.digest != other.digest


def test_tools_and_calls() -> None:
    schema = {"type": "function", "function": {"name": "code", "parameters": {}}}
    call = {"id": "1", "type": "function", "function": {"name": "code", "arguments": '{"q": 1}'}}
    conversation = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "content": "R50", "tool_call_id": "1"},
        GOOD,
    ]
    (row,) = read("messages", {"messages": conversation, "tools": [schema]})
    assert row.tools == (schema,)
    made = row.messages[1]["tool_calls"][0]
    assert made["function"] == {"name": "code", "arguments": {"q": 1}}
    assert row.messages[2]["tool_call_id"] == "1"
    shared = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": '{"name": "code", "arguments": {"q": 1}}'},
        {"from": "observation", "value": "R50"},
        {"from": "gpt", "value": "good"},
    ]
    (same,) = read("sharegpt", {"conversations": shared, "tools": json.dumps([schema])})
    assert turns(same) == turns(row)
    assert same.messages[1]["tool_calls"][0]["function"] == made["function"]
    (bare,) = read("messages", {"messages": conversation})
    assert bare.digest != row.digest


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        (GOOD | {"reasoning_content": "hm"}, "turn 2 has `reasoning_content`, which would be"),
        (GOOD | {"weight": -1}, "turn 2's `weight` is not a number"),
        (GOOD | {"weight": 0, "train": True}, "`weight` and `train` contradict"),
        (GOOD | {"content": [{"type": "image_url"}]}, "a part of type `image_url`"),
        (GOOD | {"tool_calls": [{"id": "1"}]}, "a tool call without a function's name"),
        (GOOD | {"weight": 10**400}, "turn 2's `weight` is neither 0 nor between 1e-06 and 1e+06"),
        (GOOD | {"weight": 1e-60}, "turn 2's `weight` is neither 0 nor between"),
        (GOOD | {"tool_calls": [{"name": "f", "arguments": [1]}]}, "are a list, not an object"),
        (GOOD | {"tool_calls": [{"name": "f", "arguments": "[" * 100_000}]}, "is not JSON"),
    ],
)
def test_what_would_change_the_meaning_is_a_fault(turn: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read("messages", {"messages": [{"role": "user", "content": "q"}, turn]})
    assert message in caught.value.message


def test_a_user_turn_that_is_to_be_learnt_is_a_fault() -> None:
    with pytest.raises(InvalidInput, match="only assistant turns are learnt"):
        read("messages", {"messages": [{"role": "user", "content": "q", "train": True}, GOOD]})


def test_what_says_nothing_is_no_fault() -> None:
    (row,) = read(
        "messages",
        {"messages": [{"role": "user", "content": "q", "id": "7"}, GOOD | {"images": []}]},
    )
    assert turns(row) == [("user", "q"), ("assistant", "good")]


def test_digests_of_rows_that_use_nothing_new_are_what_they_were() -> None:
    """Written down from e6b91c0: plans and adapter.lock files name rows by them."""
    (row,) = read("prompt-completion", {"prompt": "q", "completion": "a", "other": 1})
    assert row.digest == OLD_CHAT
    assert Row(text="text").digest == OLD_TEXT


@pytest.mark.parametrize("name", [*FORMATS])
def test_a_formats_example_is_of_the_format(name: str) -> None:
    format = FORMATS[name]
    (row,) = read(name, format.example)
    assert format.name == name
    assert row.kind == format.gives
    assert set(format.example) <= set(format.columns)
    for column in format.beside:
        assert column in format.example


def test_text_rows_and_renamed_columns() -> None:
    (row,) = read("text", {"content": "长文本"}, renamed={"text": "content"})
    assert row.text == row.answer == "长文本"
    assert row.messages == ()


def test_every_bad_row_is_reported_by_number_in_one_error() -> None:
    with pytest.raises(InvalidInput) as caught:
        read(
            "messages",
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            {"conversation": []},
            {"messages": [{"role": "robot", "content": "q"}]},
            {"messages": [{"role": "user", "content": "q"}]},
            {"messages": [{"role": "user", "content": 3}]},
        )
    message = caught.value.message
    assert "4 of 5 rows" in message
    for line in (
        "row 2: column `messages` is not a list of turns",
        "row 3: turn 1 has role `robot`",
        "row 4: the conversation does not end with an assistant turn",
        "row 5: turn 1's `content` is not text",
    ):
        assert line in message
    assert "data.columns" in str(caught.value.hint)


def test_a_missing_column_says_which_are_there() -> None:
    with pytest.raises(InvalidInput, match=r"no column `completion` \(it has `prompt`, `answer`\)"):
        read("prompt-completion", {"prompt": "q", "answer": "a"})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"content": "half \ud83d"}, "row 1: a text has half a character"),
        ({"tool_calls": [{"name": "f", "arguments": {"id": 2**60}}]}, "write it as text"),
        ({"tool_calls": [{"name": "f", "arguments": '{"x": NaN}'}]}, "write it as text"),
    ],
)
def test_what_no_digest_can_name_is_a_fault_of_its_row(
    columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read("messages", {"messages": [{"role": "user", "content": "q"}, GOOD | columns]})
    assert message in caught.value.message
    tools = [{"name": "f", "maximum": 2**63}]
    with pytest.raises(InvalidInput, match="`tools` have a value"):
        read("messages", {"messages": [{"role": "user", "content": "q"}, GOOD], "tools": tools})
    with pytest.raises(InvalidInput, match="column `tools` is not JSON"):
        read(
            "messages", {"messages": [{"role": "user", "content": "q"}, GOOD], "tools": "[" * 10**5}
        )


def test_columns_of_any_name_are_meta_and_what_no_file_can_hold_is_a_fault() -> None:
    others = {"self": 1, "wide": [2**70, {"nested": "甲"}]}
    (row,) = read("prompt-completion", {"prompt": "q", "completion": "a", **others})
    assert row.meta == {"self": 1, "wide": [2**70, {"nested": "甲"}], "row": 1}
    for name, value in (("half", "\ud83d"), ("\ud83d", 1), ("at", object()), ("png", b"1")):
        columns = {"prompt": "q", "completion": "a", name: value}
        with pytest.raises(InvalidInput, match=r"row 1: column .* that cannot be kept"):
            read("prompt-completion", columns)
        (row,) = read("prompt-completion", columns, ignored=(name,))
        assert row.meta == {"row": 1}


def test_days_decimals_and_missing_numbers_are_kept_as_json_has_them() -> None:
    columns = {
        "prompt": "q",
        "completion": "a",
        "on": date(2026, 1, 2),
        "price": Decimal("1.10"),
        "score": float("nan"),
        "parts": [{"at": datetime(2026, 1, 2, 3), "x": float("inf")}],
    }
    (row,) = read("prompt-completion", columns)
    parts = [{"at": "2026-01-02 03:00:00", "x": None}]
    kept = {"on": "2026-01-02", "price": "1.10", "score": None, "parts": parts, "row": 1}
    assert row.meta == kept


@pytest.mark.parametrize(
    ("format", "columns"),
    [
        ("messages", {"functions": [{"name": "f"}]}),
        ("messages", {"prompt": "q"}),
        ("sharegpt", {"history": [["q", "a"]]}),
        ("prompt-completion", {"context": "a page"}),
        ("prompt-completion", {"label": False}),
        ("instruction", {"weight": 0}),
        ("instruction", {"weight": 0.5}),
        ("instruction", {"train": False}),
        ("instruction", {"masked": True}),
        ("instruction", {"tools": "[]", "images": ["a.png"]}),
        ("text", {"instruction": "q"}),
    ],
)
def test_a_column_that_would_change_what_a_row_means_is_a_fault(
    format: str, columns: dict[str, Any]
) -> None:
    row = dict(FORMATS.named(format).example) | columns
    with pytest.raises(InvalidInput, match=r"row 1: column `.*would be ignored") as caught:
        read(format, row)
    assert f"`{[*columns][-1]}`" in caught.value.message
    (taken,) = read(format, row, ignored=tuple(columns))
    assert taken.digest == read(format, FORMATS.named(format).example)[0].digest
    assert taken.meta == {"row": 1}


@pytest.mark.parametrize(
    "columns",
    [
        {"weight": 1, "train": True, "masked": False, "loss": 1.0},
        {"history": [], "context": "", "label": "R50", "score": 3, "topic": "fever"},
    ],
)
def test_a_column_that_says_what_is_done_anyway_is_kept(columns: dict[str, Any]) -> None:
    (row,) = read("prompt-completion", {"prompt": "q", "completion": "a"} | columns)
    assert row.meta == columns | {"row": 1}


def test_ignored_keys_of_turns_and_of_columns_that_are_read_are_as_if_not_there() -> None:
    columns = {"messages": [ASK, GOOD | {"mood": "glad"}], "system": "Be brief"}
    with pytest.raises(InvalidInput, match=r"turn 2 has `mood`, which would be ignored.*ignore"):
        read("messages", columns)
    (row,) = read("messages", columns, ignored=("mood", "system"))
    assert turns(row) == [("user", "q"), ("assistant", "good")]


def test_a_null_where_text_is_needed_is_called_that() -> None:
    with pytest.raises(InvalidInput, match="row 1: column `output` is null"):
        read("instruction", {"instruction": "q", "output": None})


def test_rows_of_several_files_are_named_by_file() -> None:
    records = [Record(3, {}, "b/rows.jsonl")]
    with pytest.raises(InvalidInput, match=r"row 3 of b/rows\.jsonl: no column `text`"):
        to_rows(records, "text", source="b/")


def test_a_call_that_is_none_and_a_history_that_is_no_list_are_faults() -> None:
    shared = [{"from": "human", "value": "q"}, {"from": "function_call", "value": "[]"}]
    with pytest.raises(InvalidInput, match="turn 2 is a `function_call` without a call"):
        read("sharegpt", {"conversations": shared})
    with pytest.raises(InvalidInput, match="column `history` is not a list"):
        read("instruction", {"instruction": "q", "output": "a", "history": 5})


def test_a_format_that_fails_names_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = RowFormat("broken", "", (), "conversation", {}, lambda columns: {}["q"])
    monkeypatch.setattr(FORMATS, "named", lambda name: broken)
    with pytest.raises(InvalidInput, match="the format `broken` failed on row 1: KeyError: 'q'"):
        read("broken", {"q": 1})


@pytest.mark.parametrize(
    ("format", "record"),
    [
        (
            "openai-preference",
            {
                "input": {"messages": [{"role": "user", "content": "Fever"}], "tools": []},
                "preferred_output": [{"role": "assistant", "content": "R50.9"}],
                "non_preferred_output": [{"role": "assistant", "content": "A00"}],
            },
        ),
        ("ranking", {"instruction": "Fever", "chosen": "R50.9", "rejected": "A00"}),
        ("ranking", {"instruction": "Fever", "output": ["R50.9", "A00"]}),
        (
            "ranking",
            {
                "conversations": [{"from": "human", "value": "Fever"}],
                "chosen": {"from": "gpt", "value": "R50.9"},
                "rejected": {"from": "gpt", "value": "A00"},
            },
        ),
    ],
)
def test_every_format_of_pairs_gives_the_same_row(format: str, record: dict[str, Any]) -> None:
    """The better answer first, whichever tool the rows were written for."""
    columns = {"prompt": "Fever", "chosen": "R50.9", "rejected": "A00"}
    (expected,) = to_rows([Record(1, columns)], "preference", source="x")
    (row,) = to_rows([Record(1, record)], format, source="x")
    assert row == expected
    assert [turn[-1]["content"] for turn in row.answers] == ["R50.9", "A00"]


def test_a_column_is_read_once() -> None:
    """Of `{"instruction": "input"}` (LLaMA-Factory's own `firefly`, `webqa`) there is no input."""
    record = Record(1, {"input": "Fever", "target": "R50.9"})
    columns = {"instruction": "input", "output": "target"}
    (row,) = to_rows([record], "instruction", source="x", columns=columns)
    assert [turn["content"] for turn in row.messages] == ["Fever", "R50.9"]
    record = Record(1, {"instruction": "Fever", "output": "R50.9"})
    with pytest.raises(InvalidInput, match="`output` is read under another name"):
        to_rows([record], "instruction", source="x", columns={"input": "output"})


def test_pairs_keep_their_tools_in_both_spellings() -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    answers = {"chosen": "R50.9", "rejected": "A00", "functions": [tool]}
    turns = [{"from": "human", "value": "Fever"}]
    spoken = {name: {"from": "gpt", "value": answers[name]} for name in ("chosen", "rejected")}
    for record in (
        {**answers, "instruction": "Fever"},
        {**answers, **spoken, "conversations": turns},
    ):
        columns = {"tools": "functions"}
        (row,) = to_rows([Record(1, record)], "ranking", source="x", columns=columns)
        assert row.tools == (tool,)


FEVER = [{"role": "user", "content": "Fever"}]


def test_a_row_of_reinforcement_keeps_what_graders_read() -> None:
    record = Record(1, {"messages": FEVER, "category": {"code": "R50", "é": 1}, "note": "x"})
    columns = {"reference_answer": "category"}
    (row,) = to_rows([record], "openai-reinforcement", source="x", columns=columns)
    assert row.prompt == tuple(FEVER)
    assert row.answer == '{"code": "R50", "é": 1}'
    assert (row.meta["category"], row.meta["note"]) == ({"code": "R50", "é": 1}, "x")
    (plain,) = to_rows(
        [Record(1, {"messages": FEVER, "reference_answer": "R50"})],
        "openai-reinforcement",
        source="x",
    )
    assert (plain.answer, plain.meta["reference_answer"]) == ("R50", "R50")


@pytest.mark.parametrize(
    ("format", "record", "said"),
    [
        (
            "openai-reinforcement",
            {"messages": [*FEVER, {"role": "assistant", "content": "x"}], "reference_answer": "x"},
            "end with an answer",
        ),
        ("openai-reinforcement", {"messages": FEVER}, "no column `reference_answer`"),
        (
            "openai-reinforcement",
            {"messages": FEVER, "reference_answer": {1, 2}},
            "a value that JSON does not hold",
        ),
        ("openai-preference", {"input": "Fever"}, "`input` must be a table with `messages`"),
        (
            "openai-preference",
            {"input": {"messages": [{"role": "user", "content": "q"}], "top_p": 1}},
            "`input` has `top_p`, which is not read",
        ),
        ("ranking", {"instruction": "q", "chosen": "a"}, "`rejected` is missing"),
        ("ranking", {"instruction": "q", "output": ["a"]}, "must be a list of the better and"),
        ("ranking", {"instruction": "q", "output": ["a", "b"], "chosen": "a"}, "one of them says"),
    ],
)
def test_a_pair_that_is_none_is_a_fault(format: str, record: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        to_rows([Record(1, record)], format, source="x")


def test_a_column_of_ones_own_is_kept_whatever_a_trainer_calls_another() -> None:
    """`Context` beside the row is read by slices; `separator` is no name of ours."""
    given = {"prompt": "q", "completion": "a", "Context": "p. 3", "separator": ";"}
    (row,) = to_rows([Record(1, given)], "prompt-completion", source="a.csv")
    assert (row.meta["Context"], row.meta["separator"]) == ("p. 3", ";")
    with pytest.raises(InvalidInput, match="`Weight` would be ignored"):
        to_rows(
            [Record(1, {"prompt": "q", "completion": "a", "Weight": 0})],
            "prompt-completion",
            source="a.csv",
        )
