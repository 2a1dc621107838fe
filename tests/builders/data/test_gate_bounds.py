"""Gates at their bounds: what a threshold accepts to the last row, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.data.gates.function import as_gate
from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.hashed import Documents, common_shingles
from adapterworks.builders.data.gates.report import (
    SPLITS,
    Context,
    Finding,
    GateReport,
    Offence,
    offence,
)
from adapterworks.builders.data.gates.run import GATES, GateResults, check_rows
from adapterworks.builders.data.gates.text import (
    full_text,
    question_text,
    shingles,
)
from adapterworks.builders.data.load import Splits
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.data.wording import alike
from adapterworks.manifests.data_gates import DataGate, DataGates
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.privacy.credentials import find_secrets
from adapterworks.privacy.personal import Found, find_personal_data, mask

SYSTEM: Any = {"role": "system", "content": "system words"}
PAIR = Row(
    (SYSTEM, *chat("asked", "good").messages),
    others=(({"role": "assistant", "content": "bad"},),),
)


def run(gate: str, threshold: float = 0.0, **splits: Sequence[Row]) -> Finding:
    rows = {split: splits.get(split, []) for split in SPLITS}
    return GATES[gate].check(rows, threshold, Context())


def at(finding: Finding) -> list[tuple[str, int]]:
    return [(found.split, found.index) for found in finding.offences]


def test_texts_that_gates_compare() -> None:
    assert full_text(PAIR) == "asked\ngood\nbad"
    assert question_text(PAIR) == "asked"
    assert question_text(Row(text="t")) == full_text(Row(text="t")) == "t"


def test_shingles_by_hand() -> None:
    edge = "\x00"
    assert shingles("One, two", 5) == {(edge, "one", "two", edge)}
    assert shingles("one two three", 3) == {
        (edge, "one", "two"), ("one", "two", "three"), ("two", "three", edge),
    }  # fmt: skip
    assert shingles("one", 3) == {(edge, "one", edge)}
    assert shingles("?!", 3) == frozenset()
    assert alike("?!") == "?!"


@pytest.mark.parametrize("gate", sorted(GATES))
def test_of_no_rows_there_is_nothing_to_say(gate: str) -> None:
    finding = run(gate, 0.5)
    assert finding.offences == ()
    assert finding.measured in (0.0, None)


def test_rows_of_one_length_deviate_by_nothing() -> None:
    assert run("length_outliers", 6.0, train=[chat("q", "a")] * 3).measured == 0.0


def test_nearly_all_pairs_a_little_above_the_threshold_are_looked_at() -> None:
    """Pairs that share 11 of 53, or 29 of 55, word triples; without slack a third is missed."""

    def pairs(shared: int, own: int) -> list[Row]:
        texts = []
        for pair in range(40):
            same = " ".join(f"s{pair}w{word}" for word in range(shared))
            texts += [
                f"{same} " + " ".join(f"{side}{pair}w{word}" for word in range(own))
                for side in "ab"
            ]
        return [Row(text=text) for text in texts]

    assert len(run("near_duplicates", 0.2, train=pairs(12, 20)).offences) >= 35
    assert len(run("near_duplicates", 0.5, train=pairs(30, 12)).offences) >= 30


def test_a_template_is_what_more_than_five_and_one_in_a_hundred_have() -> None:
    def common(sharing: int, of: int) -> int:
        texts = [f"common {n}" if n < sharing else f"{n}" for n in range(of)]
        # The text's two edges are words of every row, and so common in any case.
        return len(common_shingles(Documents(of, texts.__getitem__, 1))) - 1

    assert common(5, 10) == 0
    assert common(6, 10) == 1
    assert common(10, 1000) == 0
    assert common(11, 1000) == 1


def test_repetitions_are_named_by_the_first_of_them() -> None:
    one, other = chat("q", "a").with_meta(row=8), chat("q", "b")
    finding = run("exact_duplicates", train=[one, other, one, chat("q", "a")], test=[one])
    assert at(finding) == [("train", 2), ("train", 3)]
    assert [found.reason for found in finding.offences] == ["same as row 8"] * 2
    assert finding.measured == 0.5
    assert run("exact_duplicates").measured == 0.0


def test_an_answer_may_have_its_share_and_not_a_row_more() -> None:
    def rows(usual: int, other: int) -> list[Row]:
        return [chat(f"q{n}", "yes") for n in range(usual)] + [
            chat(f"r{n}", "no") for n in range(other)
        ]

    half = run("class_balance", 0.5, train=rows(5, 5))
    assert (half.offences, half.measured) == ((), 0.5)
    six = rows(6, 4)
    finding = run("class_balance", 0.5, train=six)
    assert finding.measured == 0.6
    # Four of six stay; the two with the largest digests go.
    largest = sorted(range(6), key=lambda n: six[n].digest)[4:]
    assert at(finding) == [("train", n) for n in sorted(largest)]
    assert finding.offences[0].reason == "`yes` is the answer of 60% of the rows"
    assert run("class_balance", 1.0, train=rows(9, 0)).offences == ()
    # Three quarters of what is left: of nine, three times one other row stay.
    assert len(run("class_balance", 0.75, train=rows(9, 1)).offences) == 6


def test_texts_of_many_answers_are_no_classes() -> None:
    """More than half as many different answers as rows."""
    free = [chat(f"q{n}", f"a{n}") for n in range(2)] + [chat("x", "usual"), chat("y", "usual")]
    assert run("class_balance", 0.1, train=free).measured == 0.0
    classes = [*free, chat("z", "usual"), chat("u", "usual")]
    assert run("class_balance", 0.9, train=classes).measured == pytest.approx(4 / 6)
    assert run("class_balance", 0.1, train=[Row(text=f"t{n}") for n in range(4)]).measured == 0.0
    assert run("class_balance", 0.1).measured == 0.0


def test_contradictions_are_counted_by_question() -> None:
    train = [
        chat("one", "a"), chat("One!", "b"), chat("two", "a"), chat("two", "A."),
        chat("three", "x"), chat("three", "y"), chat("three", "y"), Row(text="one"),
    ]  # fmt: skip
    finding = run("contradictions", train=train)
    assert at(finding) == [("train", 0), ("train", 1), ("train", 4)]
    assert [found.reason for found in finding.offences] == [
        "row 2 answers the same with `b`",
        "row 1 answers the same with `a`",
        "row 6 answers the same with `y`",
    ]
    assert finding.measured == 2.0


def test_a_system_turn_makes_another_question() -> None:
    other = Row((SYSTEM, *chat("one", "b").messages))
    assert run("contradictions", train=[chat("one", "a"), other]).offences == ()


def test_answers_that_are_missing_values_unless_they_are_a_class() -> None:
    five = [chat(f"q{n}", "None") for n in range(5)]
    assert len(run("empty_supervision", train=five).offences) == 5
    six = [*five, chat("q5", "None")]
    assert run("empty_supervision", train=six).offences == ()
    # In a large set, more than one row in twenty.
    many = six + [chat(f"r{n}", f"a{n}") for n in range(114)]
    assert len(run("empty_supervision", train=many).offences) == 6
    assert run("empty_supervision", train=many[:-1]).offences == ()
    empty = run("empty_supervision", validation=[chat("q", " ")], test=[chat("q", "null")])
    assert at(empty) == [("validation", 0), ("test", 0)]
    assert empty.measured == 2.0


def test_a_held_out_question_leaks_if_enough_of_one_training_question_is_in_it() -> None:
    """Words a to h with both edges: 6 runs of five; the one of j to l beside them has others."""
    seen = chat("a b c d e f g h", "x").with_meta(row=4)
    whole = run(
        "contamination", 1.0, train=[chat("z", "y"), seen], test=[chat("A b c d e f g h?", "x")]
    )
    assert at(whole) == [("test", 0)]
    assert whole.offences[0].reason == "100% of its question is in training row 4"
    assert whole.measured == 1.0
    # Of `a b c d e f g i` the runs with `h` and the end are others: 4 of 6.
    near = [chat("a b c d e f g i", "x"), chat("something else", "x")]
    assert at(run("contamination", 0.66, train=[seen], validation=near)) == [("validation", 0)]
    assert run("contamination", 0.67, train=[seen], validation=near).offences == ()
    both = run("contamination", 0.6, train=[seen], validation=near, test=near)
    assert at(both) == [("validation", 0), ("test", 0)]
    assert both.measured == 0.5
    assert run("contamination", 0.6, train=[seen]).measured == 0.0


def test_of_equal_leaks_the_first_training_row_is_named() -> None:
    train = [chat("a b c d e f", "x"), chat("a b c d e f", "y")]
    (found,) = run("contamination", 0.8, train=train, test=[chat("a b c d e f", "x")]).offences
    assert found.reason.endswith("in training row 1")


def test_near_repetitions_to_the_share() -> None:
    """Eleven words and the edges make 11 triples; another last word changes two of them in each:
    9 of 13 are common."""
    words = "we all saw ten old ships leave port at dawn"
    train = [chat(words, "k"), chat(words, "l")]  # the answer is the last word
    similar = 9 / 13
    assert at(run("near_duplicates", similar - 0.001, train=train)) == [("train", 1)]
    assert run("near_duplicates", similar + 0.001, train=train).offences == ()
    finding = run("near_duplicates", 0.6, train=[*train, chat("x y z", "w")])
    assert finding.offences[0].reason == "69% like row 1"
    assert finding.measured == pytest.approx(1 / 3)
    assert run("near_duplicates", 0.9, train=[train[0], train[0]]).offences == (), "exact ones"


def test_lengths_in_deviations_from_the_median() -> None:
    """Lengths e¹ … by characters: logarithms whose median deviation is worked out below."""
    from math import log

    lengths = (10, 20, 40, 80, 400)
    train = [Row(text="x" * length) for length in lengths]
    # From 40: log 4, log 2, 0, log 2, log 10; their median is log 2.
    score = log(10) / (1.4826 * log(2))
    finding = run("length_outliers", score - 0.001, train=train)
    assert at(finding) == [("train", 4)]
    assert finding.offences[0].reason == "400 characters, 2.2 deviations from the median 40"
    assert finding.measured == pytest.approx(score)
    assert run("length_outliers", score + 0.001, train=train).offences == ()
    # Of more than half equal lengths, the mean deviation counts: here log(10) / 4.
    equal = [Row(text="x" * length) for length in (10, 10, 10, 100)]
    assert run("length_outliers", 9.0, train=equal).measured == pytest.approx(4 / 1.2533)


def test_language_counts_all_splits_and_accepts_its_share() -> None:
    german = chat("Wie hoch ist der Blutdruck des Patienten heute Morgen?", "Er ist zu hoch.")
    english = chat("How high is the blood pressure of the patient this morning?", "Too high.")
    quarter = {"train": [english, english], "validation": [german], "test": [english]}
    assert run("language", 0.25, **quarter).offences == ()
    finding = run("language", 0.24, **quarter)
    assert (at(finding), finding.measured) == ([("validation", 0)], 0.25)
    assert finding.offences[0].reason.startswith("language `de` (")
    rows = {split: quarter.get(split, []) for split in SPLITS}
    both = GATES["language"].check(rows, 0.0, Context(languages=("en", "de")))
    assert (both.offences, both.measured) == ((), 0.0)
    assert run("language", 0.0).measured == 0.0


def test_personal_data_is_looked_for_in_every_split_and_region() -> None:
    mail = chat("Write to a@b.org or c@d.org, card 4111 1111 1111 1111", "done")
    finding = run("personal_data", train=[mail], test=[chat("x", "y"), mail])
    assert at(finding) == [("train", 0), ("test", 1)]
    assert finding.offences[0].reason == "e-mail address, payment card"
    assert finding.measured == 2.0
    german = {split: [chat("Ruf 030 2093 70333 an", "ja")] for split in ("train",)}
    rows = {split: german.get(split, []) for split in SPLITS}
    check = GATES["personal_data"].check
    assert len(check(rows, 0.0, Context(languages=("de",))).offences) == 1
    assert check(rows, 0.0, Context(languages=("zh",))).offences == ()
    assert check(rows, 0.0, Context(languages=("xx",))).offences == ()


def test_findings_do_not_overlap_and_stand_in_order() -> None:
    text = "card 4111111111111111 then mail a@b.org"
    found = find_personal_data(text)
    assert [(item.kind, text[item.start : item.stop]) for item in found] == [
        ("payment card", "4111111111111111"),
        ("e-mail address", "a@b.org"),
    ]
    assert find_personal_data("1111 1111 1111 1111") == [], "no issuer, one digit"


def test_a_masked_excerpt_shows_what_is_around_the_first_finding() -> None:
    text = "x" * 100 + " a@b.org " + "y" * 200
    shown = mask(text, [Found("mail", 101, 108)])
    assert shown == "…" + "x" * 79 + " ‹mail› " + "y" * (160 - 79 - 8)
    assert mask("a@b.org and c@d.org", [Found("m", 0, 7), Found("m", 12, 19)]) == "‹m› and ‹m›"


def test_secrets_in_several_lines_are_all_hidden() -> None:
    password = "Tr0ub4dor" + "&3xyz"
    row = chat(f"password = {password}\nurl https://me:{password}@host/x", f"keep {password}9")
    (found,) = run("secrets", train=[row]).offences
    assert found.reason == "password in an address", "the same secret in two places"
    assert password not in found.excerpt
    assert found.excerpt.count("‹secret›") == 3
    assert find_secrets("pwd: a1bcdefg") == {"a1bcdefg": "password or key"}
    assert find_secrets("pwd: a1bcdef") == {}, "seven characters"
    assert find_secrets("https://me:abc@host") == {"abc": "password in an address"}
    assert find_secrets("https://me:ab@host") == {}


def splits_of(*rows: Row) -> Splits:
    return Splits(rows, (), (), ())


def test_every_gate_sees_the_rows_as_they_came() -> None:
    """What one drops is not hidden from another; a row that two drop is dropped once."""
    rows = splits_of(chat("q", "a"), chat("q", "a"), chat("q", "b"))
    gates = DataGates.model_validate(
        {
            "contradictions": {"action": "drop"},
            "exact_duplicates": {"action": "drop"},
            "class_balance": {"on": False},
            "empty_supervision": {"action": "warn"},
        }
    )
    results = check_rows(rows, gates, Context())
    by_name = {report.name: at(Finding(report.rows, 0.0)) for report in results.reports}
    assert by_name["contradictions"] == [("train", 2)]
    assert by_name["exact_duplicates"] == [("train", 1)]
    assert (results.dropped, len(results.splits.train)) == (2, 1)
    assert results.splits.train[0] is rows.train[0]
    assert "class_balance" not in by_name
    assert results.require() is results


def test_only_what_fails_refuses_and_five_rows_of_it_are_shown() -> None:
    rows = splits_of(*(chat(f"q{n}", "a b") for n in range(7)))
    named = tuple(offence("train", n, rows.train[n], "bad") for n in range(7))

    def results(action: Any, count: int) -> GateResults:
        report = GateReport("secrets", named[:count], 1.0, None, action)
        return GateResults((report,), rows, 0)

    for action in ("warn", "drop"):
        assert results(action, 7).require().to_json()["passed"]
    assert results("fail", 0).require()
    with pytest.raises(Refused) as caught:
        results("fail", 7).require()
    lines = caught.value.message.split("\n")
    assert lines[:2] == [
        "data gate `secrets` refuses 7 rows",
        "  train row 1: bad: user: q0 | assistant: a b",
    ]
    assert lines[6:] == ["  and 2 more"]
    with pytest.raises(Refused) as caught:
        results("fail", 5).require()
    assert "more" not in caught.value.message
    with pytest.raises(Refused, match="refuses 1 row\n"):
        results("fail", 1).require()
    assert not results("fail", 1).to_json()["passed"]


def test_a_release_keeps_numbers_and_no_text() -> None:
    row = chat("secret words", "a").with_meta(row=9)
    named = tuple(offence("train", n, row, "why") for n in range(120))
    report = GateReport("language", named, 0.5, 0.02, "warn")
    (kept,) = GateResults((report,), splits_of(), 0).summary()
    assert (kept["rows"], len(kept["first"]), kept["first"][0]) == (120, 100, ["train", 9])
    assert (kept["measured"], kept["threshold"], kept["action"]) == (0.5, 0.02, "warn")
    assert "secret words" not in str(kept)


def test_an_offence_is_named_by_the_rows_own_number() -> None:
    row = chat("q", "a")
    expected = Offence("test", 4, 5, None, "r", "user: q | assistant: a")
    assert offence("test", 4, row, "r") == expected
    numbered = row.with_meta(row=17, source="s")
    assert offence("test", 4, numbered, "r", "") == replace(
        expected, row=17, source="s", excerpt=""
    )


def test_a_threshold_is_the_manifests_or_the_gates_own() -> None:
    rows = splits_of(*(chat(f"q{n}", "yes" if n < 8 else "no") for n in range(10)))

    def threshold(**setting: Any) -> float | None:
        gates = DataGates(class_balance=DataGate(**setting))
        (report,) = [
            r for r in check_rows(rows, gates, Context()).reports if r.name == "class_balance"
        ]
        assert report.passed == (report.threshold == 0.9)
        return report.threshold

    assert threshold(threshold=0.9) == 0.9
    assert threshold() == GATES["class_balance"].threshold == 0.5


def reason(row: Row) -> Any:
    """It begs.

    More of it.
    """
    return {"please": "it begs", "empty": "", "number": 3}.get(row.question)


def test_a_function_is_a_gate() -> None:
    gate = as_gate("polite", reason)
    assert (gate.name, gate.description, gate.action) == ("polite", "It begs.", "warn")
    assert (gate.threshold, gate.unit, gate.reads_tokens) == (None, None, False)
    rows = {"train": [chat("please", "a"), chat("empty", "a")], "test": [chat("please", "b")]}
    finding = gate.check(rows, 0.0, Context())
    assert at(finding) == [("train", 0), ("test", 0)]
    assert (finding.measured, finding.offences[0].reason) == (2.0, "it begs")
    with pytest.raises(InvalidInput, match="gave 3 on train row 2, not a reason or None"):
        gate.check({"train": [chat("x", "a"), chat("number", "a")]}, 0.0, Context())
    with pytest.raises(InvalidInput, match="failed on test row 9: KeyError: 'x'"):
        as_gate("k", lambda row: {}["x"]).check({"test": [chat("q", "a", row=9)]}, 0.0, Context())
    assert as_gate("k", lambda row: None).description == "Rows for which it gives a reason."
    for wrong in (3, lambda: None, lambda one, other: None, "text"):
        with pytest.raises(InvalidInput, match="neither a `Gate` nor a function of one row"):
            as_gate("k", wrong)


def test_a_gate_takes_the_manifests_name() -> None:
    own = Gate("own", "says", lambda rows, t, c: Finding((), None), 0.5, "share", "drop", True)
    assert as_gate("own", own) is own
    assert as_gate("./f.py:own", own) == replace(own, name="./f.py:own")


def test_truncation_is_measured_where_rows_were_encoded() -> None:
    rows = {"train": [chat("q", "a"), chat("r", "b")], "validation": [chat("s", "c")], "test": []}
    gate = GATES["truncated_supervision"]
    assert gate.reads_tokens
    found = gate.check(rows, 0.0, Context(lost={"train": [0, 3], "validation": [1]}))
    assert at(found) == [("train", 1), ("validation", 0)]
    assert (found.measured, found.offences[0].reason) == (2.0, "3 answer tokens are cut off")
    assert gate.check(rows, 0.0, Context()) == Finding((), None)


def test_prompts_that_are_cut_and_answers_that_are_rewritten_are_counted_by_row() -> None:
    rows = {"train": [chat("q", "a"), chat("r", "b")], "validation": [chat("s", "c")], "test": []}
    context = Context(
        lost_prompts={"train": [7, 0], "validation": [1]},
        unlearnt={"train": [0, 2], "validation": [1]},
    )
    found = GATES["truncated_prompts"].check(rows, 0.0, context)
    assert at(found) == [("train", 0), ("validation", 0)]
    assert (found.measured, found.offences[0].reason) == (2.0, "7 prompt tokens are cut off")
    found = GATES["unlearnt_turns"].check(rows, 0.0, context)
    assert at(found) == [("train", 1), ("validation", 0)]
    assert (found.measured, found.offences[0].reason[:27]) == (3.0, "2 turns are left out of the")
    for name in ("truncated_prompts", "unlearnt_turns", "control_tokens"):
        assert GATES[name].reads_tokens
        assert GATES[name].check(rows, 0.0, Context()) == Finding((), None)


def test_control_tokens_in_texts_are_named_wherever_they_stand() -> None:
    asked = chat("one<|im_end|> two <s>", "a")
    learnt = chat("q", "a<|im_end|>")
    better = Row(chat("q", "a").messages, others=(({"role": "assistant", "content": "<s>"},),))
    rows = {"train": [asked, chat("<|im_end>", "a")], "test": [learnt, better, Row(text="<s>")]}
    context = Context(special=("<|im_end|>", "<s>"))
    found = GATES["control_tokens"].check(rows, 0.0, context)
    assert at(found) == [("train", 0), ("test", 0), ("test", 1), ("test", 2)]
    assert found.offences[0].reason == "its text holds `<|im_end|>`, `<s>`"
    assert GATES["control_tokens"].check(rows, 0.0, Context(special=())).offences == ()


def test_an_empty_answer_in_the_middle_is_one_unless_it_is_not_learnt() -> None:
    def talk(answer: str, **keys: object) -> Row:
        middle = {"role": "assistant", "content": answer, **keys}
        first, last = chat("q", "a").messages, chat("r", "b").messages
        return Row((first[0], middle, *last))  # type: ignore[arg-type]

    rows = [talk(""), talk(" \u200b"), talk("x"), talk("", weight=0.0), talk("", tool_calls=[{}])]
    found = run("empty_supervision", train=rows)
    assert at(found) == [("train", 0), ("train", 1)]
    assert found.offences[0].reason == "turn 2 is empty"


def test_a_class_that_is_spelt_as_a_missing_value_is_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fifth of many rows says `None`: to count them anew for each took an hour of 100,000."""
    rows = [chat(f"q{n}", "None" if n % 5 == 0 else "yes") for n in range(2_000)]
    reads = 0

    class Counted(Sequence[Row]):
        def __getitem__(self, index: Any) -> Any:
            nonlocal reads
            reads += 1
            return rows[index]

        def __len__(self) -> int:
            return len(rows)

    assert run("empty_supervision", train=Counted()).offences == ()
    assert reads <= 2 * (len(rows) + 1)
    few = [chat("q", "None"), *(chat(f"q{n}", "yes") for n in range(99))]
    assert at(run("empty_supervision", train=few)) == [("train", 0)]
