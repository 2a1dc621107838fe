"""What a file's columns are taken for, and what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.drafting.columns import Doubt, Guess, guess, split_column
from adapterworks.manifests.errors import InvalidInput


def rows(*columns: str, count: int = 20, **fixed: Any) -> list[dict[str, Any]]:
    return [{name: f"{name} text {i}" for name in columns} | fixed for i in range(count)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("prompt", "completion"), Guess("prompt-completion", {})),
        (("instruction", "input", "output"), Guess("instruction", {})),
        (("prompt", "chosen", "rejected"), Guess("preference", {})),
        (
            ("id_text", "Question", "Answer"),
            Guess("prompt-completion", {"prompt": "Question", "completion": "Answer"}),
        ),
        (
            ("工单内容", "处理部门"),
            Guess("prompt-completion", {"prompt": "工单内容", "completion": "处理部门"}),
        ),
        (("text", "label"), Guess("prompt-completion", {"prompt": "text", "completion": "label"})),
        (("text",), Guess("text", {})),
        (("正文段落",), Guess("text", {"text": "正文段落"})),
    ],
)
def test_columns_are_known_by_their_names(names: tuple[str, ...], expected: Guess) -> None:
    assert guess(rows(*names)) == expected


def test_turns_are_known_by_being_turns() -> None:
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert guess([{"messages": turn}] * 20) == Guess("messages", {})
    said = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    assert guess([{"conversations": said}] * 20) == Guess("sharegpt", {})
    # A column of that name that is text is text.
    assert guess(rows("messages", "reply")).format == "prompt-completion"


def test_without_known_names_the_repeated_column_is_the_answer_and_somebody_is_asked() -> None:
    records = [
        {
            "col1": f"a long description of matter number {i}",
            "col2": f"team {i % 3}",
            "col3": f"no {i}",
        }
        for i in range(30)
    ]
    found = guess(records)
    assert found.columns == {"prompt": "col1", "completion": "col2"}
    assert found.doubts == (
        Doubt("answer", "Which column holds what is to be answered?", ("col2", "col3", "col1")),
        Doubt("question", "Which column holds what is asked?", ("col1", "col3")),
    )
    said = guess(records, {"question": "col3", "answer": "col1"})
    assert said == Guess("prompt-completion", {"prompt": "col3", "completion": "col1"})


def test_numbers_keys_and_dates_are_no_questions() -> None:
    # The key is the longest text of a row, and what is longest would be taken for the question.
    records = [
        {
            "id": f"T-{i:020d}",
            "on": f"2026-11-{i % 28 + 1:02d}",
            "n": i,
            "q": f"what about {i}",
            "team": "a",
        }
        for i in range(40)
    ]
    found = guess(records)
    assert found.columns == {"prompt": "q", "completion": "team"}


@pytest.mark.parametrize(
    ("records", "chosen", "message"),
    [
        ([], {}, "has no rows"),
        (rows("a", "b"), {"answer": "c"}, "no column `c` for the answer"),
        ([{"n": i} for i in range(20)], {}, "no column holds text"),
        (rows("question"), {"question": "question"}, "there is nothing to answer"),
        (rows("answer"), {"answer": "answer"}, "nothing that asks for it"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    records: list[dict[str, Any]], chosen: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        guess(records, chosen)


def test_a_column_that_says_the_side_holds_nothing_but_sides() -> None:
    sides = [{"split": side} for side in ("train", "train", "TEST", "dev")]
    assert split_column(sides) == "split"
    assert split_column([*sides, {"split": "hair"}]) is None
    assert split_column([{"split": "test"}]) is None
    assert split_column([{"side": "train"}]) is None
