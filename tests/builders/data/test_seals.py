"""Sealed test sets: a row that was ever tested on is found, and nothing else is."""

from __future__ import annotations

import hashlib

import pytest

from adapterworks.builders.data.gates.report import Context
from adapterworks.builders.data.gates.run import GATES
from adapterworks.builders.data.gates.seals import (
    THRESHOLD,
    Seal,
    make_seal,
    read_seal,
    sealed_rows,
)
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.errors import IntegrityError

LONG = "where do i find the payment number {} of last year in the list"
HEAD = "Read the report of the ward below with care and name the one code that fits: "


def seal(*texts: str, owner: str = "exam") -> Seal:
    return read_seal(make_seal([chat(text, "answer") for text in texts]), owner)


def matches(texts: list[str], *seals: Seal) -> list[tuple[int, str, int]]:
    rows = [chat(text, "another answer") for text in texts]
    return [(m.index, m.owner, m.row) for m in sealed_rows(rows, seals, THRESHOLD)]


def test_the_same_question_is_found_whatever_its_answer_case_and_dress() -> None:
    known = seal("Where is my card?", "Who blocked it?")
    asked = ["who  blocked IT", "Where is my car?", "where is my card", "What else?"]
    assert matches(asked, known) == [(0, "exam", 2), (2, "exam", 1)]


def test_almost_the_same_question_is_found() -> None:
    known = seal(*(LONG.format(number) for number in range(3)))
    # Fourteen words between two edges: 12 runs of five; the one added word breaks the first edge.
    near = ["please " + LONG.format(1), LONG.format(7), "in the list of last year"]
    assert matches(near, known) == [(0, "exam", 2)]
    found = sealed_rows([chat(near[0], "x")], [known], THRESHOLD)
    assert found[0].share == pytest.approx(11 / 12)
    assert str(found[0]) == "92% of test row 2 of `exam` is in its question"


def test_a_template_is_no_evidence_however_few_rows_are_looked_at() -> None:
    """So long that nine tenths of a question are the template: none of it tells of a test row."""
    head = " ".join(f"rule {number} is to be kept" for number in range(12)) + " "
    known = seal(*(head + f"case {number} of ward" for number in range(20)))
    assert matches([head + "case 77 of ward"], known) == []
    assert matches([head + "case 7 of ward"], known) == [(0, "exam", 8)]


@pytest.mark.parametrize("count", [1, 5, 6, 10, 40])
@pytest.mark.parametrize("way", ["before", "anywhere"])
def test_near_copies_do_not_hide_each_other(count: int, way: str) -> None:
    """As a test question comes that somebody had written anew, or that many asked."""
    question = LONG.format(7)
    words = question.split()

    def near(number: int) -> str:
        at = {"before": 0, "anywhere": number % len(words)}[way]
        return " ".join((*words[:at], f"w{number}", *words[at:]))

    others = [f"who has room {n} of house {n % 7} in the year {n} of the king" for n in range(300)]
    near_ones = [near(number) for number in range(count)]
    known = seal(question, "and what else is there to be asked of it")
    alone = [number for number in range(count) if matches([near_ones[number]], known)]
    found = [index for index, *_ in matches([*others, *near_ones], known)]
    assert found == [300 + number for number in alone]
    assert alone


def test_the_likest_of_several_test_sets_is_named() -> None:
    one, other = seal("please " + LONG.format(5), owner="one"), seal(LONG.format(5), owner="other")
    assert matches([LONG.format(5)], one, other) == [(0, "other", 1)]
    assert matches([LONG.format(5)], seal(owner="none"), other, one) == [(0, "other", 1)]


def test_texts_and_scripts_without_spaces_are_compared_too() -> None:
    known = read_seal(make_seal([Row(text="我的银行卡被冻结了怎么办")]), "exam")
    rows = [Row(text="我的银行卡被冻结了怎么办？"), Row(text="我的存折被冻结了该怎么办")]
    assert [m.index for m in sealed_rows(rows, [known], THRESHOLD)] == [0]


def test_what_has_no_word_is_never_a_match() -> None:
    assert matches(["?!", "…"], seal("?!", "...")) == []


def test_equal_questions_are_one_seal_and_keep_no_word() -> None:
    rows = [chat("Where is my secret card?", "here"), chat("Who?", "x")]
    other = [chat("where is my SECRET card", "there"), chat("who", "y")]
    assert make_seal(rows) == make_seal(other) != make_seal(rows[:1])
    assert b"secret" not in make_seal(rows).lower()
    assert read_seal(make_seal([]), "empty").questions == () or matches(["x"], seal()) == []


@pytest.mark.parametrize("cut", [0, 5, 27, -8])
def test_a_damaged_seal_is_refused(cut: int) -> None:
    data = make_seal([chat("Where is my card?", "here")])
    with pytest.raises(IntegrityError, match="the seal of `exam`"):
        read_seal(data[:cut], "exam")


def test_the_gate_measures_the_share_of_sealed_rows() -> None:
    rows = {"train": [chat("a b c", "x"), chat("d e f", "y")], "validation": [], "test": []}
    gate = GATES["sealed"]
    assert gate.check(rows, 0.8, Context()).measured is None
    found = gate.check(rows, 0.8, Context(seals=[seal("D, E, F")]))
    assert found.measured == 0.5
    assert [(o.split, o.index) for o in found.offences] == [("train", 1)]
    assert gate.action == "fail"
    assert gate.binding


def test_seals_are_made_of_the_words_they_always_were() -> None:
    """In any script: a test set that was sealed years ago is known by the same numbers."""
    asked = ("Where is my card?", "मेरा कार्ड कहाँ है", "cm² und ½", "كَتَبَ الولد", "บัตรของฉัน")
    sealed = make_seal([chat(text, "a") for text in asked])
    assert hashlib.sha256(sealed).hexdigest() == (
        "9b0d8f12f9a6245c471d905c650cdcd7385d1e13f628ed2d6172973e25933547"
    )
