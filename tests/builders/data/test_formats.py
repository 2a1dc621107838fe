"""Formats as the field writes them, read as they are; bad rows by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from adapterworks.builders.data.formats import to_rows
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.sources import Record
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Format

CHAT = [("user", "甲型肝炎的编码?"), ("assistant", "B15 急性甲型肝炎")]


def read(
    format: Format, *columns: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> tuple[Row, ...]:
    records = [Record(number, dict(values)) for number, values in enumerate(columns, 1)]
    return to_rows(records, format, source="rows.jsonl", columns=renamed)


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
def test_every_chat_format_gives_the_same_row(format: Format, columns: dict[str, Any]) -> None:
    (row,) = read(format, columns)
    assert turns(row) == CHAT
    assert row.question == CHAT[0][1]
    assert row.answer == CHAT[1][1]
    assert row.number == 1


def test_alpaca_input_follows_the_instruction() -> None:
    (row,) = read("instruction", {"instruction": "Translate", "input": "Hund", "output": "dog"})
    assert row.question == "Translate\n\nHund"


def test_preference_keeps_the_chosen_answer_and_remembers_the_rejected() -> None:
    plain = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    chat = {
        key: [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]
        for key, text in (("chosen", "good"), ("rejected", "bad"))
    }
    for (row,) in (read("preference", plain), read("preference", chat)):
        assert turns(row) == [("user", "q"), ("assistant", "good")]
        assert row.meta["rejected"] == "bad"


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
