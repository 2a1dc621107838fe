"""What a file's columns are taken for, and what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.drafting.columns import Doubt, Guess, guess
from adapterworks.drafting.sides import side, split_column
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


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Q", "A"),
        ("Frage", "Antwort"),
        ("User Question", "Agent Reply"),
        ("user_question", "agent_reply"),
        ("咨询内容", "回复内容"),
        ("客户诉求", "处理意见"),
        ("用户提问", "客服回答"),
        ("问题内容", "回答内容"),
        ("问题", "问题类别"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_name_that_says_it_in_a_part_is_known(question: str, answer: str, turned: bool) -> None:
    """Questions are short and replies long, as in a table of frequent questions."""
    records = [
        {question: f"what of {i}?", answer: f"a reply of many words about matter {i}"}
        for i in range(60)
    ]
    if turned:
        records = [dict(reversed(record.items())) for record in records]
    found = guess(records)
    assert (found.columns, found.doubts) == ({"prompt": question, "completion": answer}, ())


def test_what_somebody_says_of_two_letters_holds() -> None:
    records = [{"Q": f"what of {i}?", "A": f"a reply about matter {i}"} for i in range(60)]
    said = guess(records, {"answer": "Q"})
    assert said.columns == {"prompt": "A", "completion": "Q"}


def test_a_name_may_have_no_letter() -> None:
    records = [{"_": f"what of {i}?", "--": f"a reply about matter {i}"} for i in range(60)]
    assert guess(records).columns == {"prompt": "_", "completion": "--"}


@pytest.mark.parametrize("reply", ["yes {}", "a reply of many words about matter {}"])
def test_where_every_row_is_another_the_order_of_reading_decides(reply: str) -> None:
    records = [{"one": f"what of {i}?", "two": reply.format(i)} for i in range(60)]
    found = guess(records)
    assert found.columns == {"prompt": "one", "completion": "two"}
    assert [doubt.key for doubt in found.doubts] == ["answer", "question"]


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
    assert split_column([{"side": "train"}]) is None
    assert split_column([{"split": "hair"}, {"split": "wood"}]) is None
    assert split_column([{"fold": 0}, {"fold": 1}]) is None


@pytest.mark.parametrize("name", ["Split", "SPLIT", " split ", "ＳＰＬＩＴ", "数据集", "Fold"])
@pytest.mark.parametrize(
    "sides", [("Train", "TEST"), ("training", "held-out"), ("训练集", "测试集")]
)
def test_a_column_of_sides_is_known_however_it_is_spelled(
    name: str, sides: tuple[str, str]
) -> None:
    assert split_column([{name: side} for side in sides]) == name
    assert [side(said) for said in sides] == ["train", "test"]


@pytest.mark.parametrize("other", ["hair", "", None, 3])
def test_rows_of_no_side_among_sides_are_not_trained_on_in_silence(other: object) -> None:
    sides = [{"Split": said} for said in ("train", "test", other)]
    with pytest.raises(InvalidInput, match="column `Split` says of some rows"):
        split_column(sides)
    with pytest.raises(InvalidInput, match="column `Split` says of some rows"):
        split_column([*sides[:2], {"q": "a"}])
    with pytest.raises(InvalidInput, match="marks no row as one to train on"):
        split_column([{"split": "test"}])


def test_the_column_of_sides_is_neither_asked_nor_answered() -> None:
    records = [
        {"a": f"what is to be said of {i}", "b": f"word {i}", "split": "test" if i % 4 else "train"}
        for i in range(40)
    ]
    assert guess(records).columns == {"prompt": "a", "completion": "b"}


@pytest.mark.parametrize("answer", ["answer", "Answer", "code", "标签", "intent"])
@pytest.mark.parametrize("values", [("0", "1", "2"), ("101", "102", "103"), ("2026-11-29",)])
def test_a_column_named_as_an_answer_is_one_whatever_it_holds(
    answer: str, values: tuple[str, ...]
) -> None:
    records = [
        {"id": f"{i}", "question": f"what about {i}", answer: values[i % len(values)]}
        for i in range(40)
    ]
    found = guess(records)
    assert found == Guess("prompt-completion", {"prompt": "question", "completion": answer})


def test_a_question_in_figures_is_one_by_its_name() -> None:
    for answer in ("it is a number", "42"):
        records = [{"question": f"{i} + {i}", "answer": f"{answer}{i % 3}"} for i in range(40)]
        assert guess(records) == Guess(
            "prompt-completion", {"prompt": "question", "completion": "answer"}
        )
    # A ticket's number is not what is asked, where text stands beside it.
    tickets = [{"ticket": f"T-{i:04}", "text": f"the mouse {i} is gone"} for i in range(40)]
    assert guess(tickets).format == "text"


def test_where_text_is_beside_a_number_named_as_an_answer_somebody_is_asked() -> None:
    records = [
        {"question": f"what about {i}", "remark": f"this and that of {i}", "code": f"{i % 3}"}
        for i in range(40)
    ]
    found = guess(records)
    assert found.columns == {"prompt": "question", "completion": "code"}
    assert found.doubts == (
        Doubt("answer", "Which column holds what is to be answered?", ("code", "remark")),
    )
    # An answer in words comes first, and is none to be asked for.
    worded = guess([record | {"reply": "so it is"} for record in records])
    assert worded == Guess("prompt-completion", {"prompt": "question", "completion": "reply"})


def test_one_column_of_text_among_others_is_prose_if_somebody_says_so() -> None:
    records = [{"ticket": f"what about {i}", "number": f"{i % 3}"} for i in range(40)]
    found = guess(records)
    assert (found.format, found.columns) == ("text", {"text": "ticket"})
    (doubt,) = found.doubts
    assert (doubt.key, doubt.options) == ("format", ("text", "prompt-completion"))
    assert "Only column `ticket` holds text" in doubt.asks
    assert guess(records, format="text") == Guess("text", {"text": "ticket"})
    with pytest.raises(InvalidInput, match="there is nothing to answer"):
        guess(records, format="prompt-completion")
    said = guess(records, {"answer": "number"})
    assert said == Guess("prompt-completion", {"prompt": "ticket", "completion": "number"})


@pytest.mark.parametrize(
    ("format", "columns"),
    [
        ("instruction", {"instruction": "Q", "output": "A"}),
        ("prompt-completion", {"prompt": "Q", "completion": "A"}),
        ("preference", {"prompt": "Q", "chosen": "A"}),
        ("unpaired-preference", {"prompt": "Q", "completion": "A"}),
    ],
)
def test_columns_that_somebody_names_are_those_of_the_format_that_they_name(
    format: str, columns: dict[str, str]
) -> None:
    records = rows("Q", "A", "rejected", label=True)
    assert guess(records, {"question": "Q", "answer": "A"}, format) == Guess(format, columns)
    assert guess(rows("instruction", "A"), {"answer": "A"}, "instruction").columns == {
        "output": "A"
    }


@pytest.mark.parametrize("format", ["messages", "text", "sharegpt"])
def test_a_format_without_them_takes_no_names_of_question_and_answer(format: str) -> None:
    with pytest.raises(InvalidInput, match=f"format `{format}` has no column of a question"):
        guess(rows("Q", "A"), {"question": "Q", "answer": "A"}, format)


@pytest.mark.parametrize("name", ["label", "Label", "desirable"])
@pytest.mark.parametrize("values", [("true", "false"), ("True", "FALSE"), (True, False)])
def test_answers_that_are_said_to_be_wrong_are_not_taught_as_right(
    name: str, values: tuple[object, ...]
) -> None:
    records = [
        {"question": f"what is matter {i}", "answer": f"it is thing {i}", name: values[i % 2]}
        for i in range(40)
    ]
    renamed = {"prompt": "question", "completion": "answer", "label": name}
    expected = {key: column for key, column in renamed.items() if key != column}
    assert guess(records) == Guess("unpaired-preference", expected)


def test_records_need_not_all_have_the_same_columns() -> None:
    records = [{"frage": f"was ist {i}", "antwort": f"das ist {i % 5}"} for i in range(40)]
    noted = [r | ({"notiz": f"siehe {i}"} if i % 2 else {}) for i, r in enumerate(records)]
    assert {"frage", "antwort"} == {*guess(noted).columns.values()}
    assert guess(noted, {"answer": "notiz"}).columns["completion"] == "notiz"
