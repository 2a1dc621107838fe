"""The row: what it offers, what it is called by, and what its digest is of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.data.rows import Message, Row, chat, rows_digest, unweighted
from adapterworks.manifests.digests import digest_bytes

USER: Message = {"role": "user", "content": "q"}
GOOD: Message = {"role": "assistant", "content": "good"}
BAD: Message = {"role": "assistant", "content": "bad"}
CALL: Message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
RESULT: Message = {"role": "tool", "content": "42"}
PAIR = Row((USER, GOOD), others=((BAD,),))
LONG = Row((USER, CALL, RESULT, GOOD), others=((BAD,),), answer_turns=3)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (chat("q", "a"), "conversation"),
        (Row(text=""), "document"),
        (PAIR, "comparison"),
        (Row((USER, GOOD), scores=(1.0,)), "judged"),
        (Row((USER, GOOD), others=((BAD,),), scores=(1.0, 0.0)), "comparison"),
    ],
)
def test_kinds(row: Row, kind: str) -> None:
    assert row.kind == kind


def test_context_and_answers_of_several_turns() -> None:
    assert LONG.context == (USER,)
    assert LONG.answers == ((CALL, RESULT, GOOD), (BAD,))
    assert LONG.prompt == (USER, CALL, RESULT), "what a generation is given"
    assert (LONG.question, LONG.answer) == ("q", "good")
    assert (PAIR.context, PAIR.answers) == ((USER,), ((GOOD,), (BAD,)))


def test_the_question_is_the_last_that_was_asked() -> None:
    other: Message = {"role": "user", "content": "other"}
    system: Message = {"role": "system", "content": "s"}
    assert Row((system, USER, GOOD, other, BAD)).question == "other"
    assert Row((system, GOOD)).question == ""
    assert Row(text="t").question == ""
    assert Row(text="t").answer == "t"


def test_answered_learns_one_answer_and_nothing_before_it() -> None:
    earlier: Message = {"role": "assistant", "content": "earlier"}
    row = Row((USER, earlier, USER, CALL, RESULT, GOOD), {"row": 3}, others=((BAD,),),
              answer_turns=3, tools=({"name": "f"},), scores=(1.0, 0.0))  # fmt: skip
    own, other = row.answered(0), row.answered(1)
    given = [turn.get("weight", 1.0) for turn in own.messages]
    assert given == [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert own.messages[3:] == (CALL, RESULT, GOOD)
    assert other.messages[3:] == (BAD,)
    assert other.messages[:3] == own.messages[:3]
    for one in (own, other):
        assert (one.kind, one.number, one.tools, one.answer_turns) == (
            "conversation", 3, ({"name": "f"},), 1,
        )  # fmt: skip
    assert row.messages[1] == earlier, "the row itself is as it was"


def test_a_rows_number_is_a_number() -> None:
    assert chat("q", "a").number is None
    assert chat("q", "a", row=4).number == 4
    assert chat("q", "a", row="4").number is None


BASE = Row((USER, GOOD))


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (USER, BAD)},
        {"messages": (USER, {**GOOD, "weight": 0.5})},
        {"messages": (USER, {**GOOD, "name": "x"})},
        {"tools": ({"name": "f"},)},
        {"others": ((BAD,),)},
        {"scores": (0.0,)},
        {"messages": (USER, CALL, GOOD), "answer_turns": 2},
    ],
)
def test_what_is_seen_or_learnt_is_in_the_digest(change: dict[str, Any]) -> None:
    changed = replace(BASE, **change)
    assert changed.digest != BASE.digest
    if "answer_turns" in change:
        assert changed.digest != replace(changed, answer_turns=1).digest


def test_where_a_row_came_from_is_not() -> None:
    assert BASE.with_meta(row=7, source="x").digest == BASE.digest
    assert Row((USER, GOOD), text="t").digest == Row(text="t").digest


def test_the_order_of_answers_and_rows_counts() -> None:
    one = Row((USER, GOOD), others=((BAD,), (CALL,)))
    assert one.digest != replace(one, others=((CALL,), (BAD,))).digest
    rows = [chat("a", "1"), chat("b", "2")]
    assert rows_digest(rows) != rows_digest(rows[::-1])
    assert rows_digest(rows) == digest_bytes(f"{rows[0].digest}\n{rows[1].digest}".encode())


def test_meta_is_added_to_and_replaced() -> None:
    row = chat("q", "a", row=1, code="R50")
    assert row.with_meta(row=2, more=True).meta == {"row": 2, "code": "R50", "more": True}
    assert row.meta == {"row": 1, "code": "R50"}


def test_an_excerpt_is_one_line_of_at_most_its_limit() -> None:
    assert chat("a\n b", " c ").excerpt() == "user: a b | assistant: c"
    assert Row(text="x" * 10).excerpt(10) == "x" * 10
    assert Row(text="x" * 11).excerpt(10) == "x" * 9 + "…"
    assert len(chat("q" * 500, "a").excerpt()) == 160


def test_a_turn_is_given_without_its_weight() -> None:
    weighted: Message = {"role": "assistant", "content": "a", "weight": 0.5}
    assert unweighted(weighted) == {"role": "assistant", "content": "a"}
    assert weighted["weight"] == 0.5
    assert unweighted(GOOD) is GOOD
