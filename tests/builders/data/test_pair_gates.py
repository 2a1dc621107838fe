"""Gates of pairs, each with a planted fault and with what only looks like one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapterworks.builders.data.gates.report import Context
from adapterworks.builders.data.gates.run import GATES, judge, losses_of
from adapterworks.builders.data.load import Splits
from adapterworks.builders.data.rows import Row, chat
from tests.builders.build_support import manifest_for


def pair(asked: str, better: str, worse: str) -> Row:
    return Row(chat(asked, better).messages, others=(({"role": "assistant", "content": worse},),))


def found(name: str, train: Sequence[Row], test: Sequence[Row] = ()) -> tuple[list[object], object]:
    gate = GATES.named(name)
    rows = {"train": train, "validation": (), "test": test}
    finding = gate.check(rows, gate.threshold or 0.0, Context())
    return [(o.split, o.index) for o in finding.offences], finding.measured


def calling(*arguments: dict[str, object]) -> Row:
    """A question with answers that each call a function, and say nothing."""
    answers: list[Any] = [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": f"{at}", "function": {"name": "pay", "arguments": given}}],
        }
        for at, given in enumerate(arguments)
    ]
    asked = chat("q", "").prompt
    return Row((*asked, answers[0]), others=tuple((answer,) for answer in answers[1:]))


# What pairs are made of, that teach tools, code, signs, layout or spelling.
DIFFERENT = [
    ("C++", "C#"),
    ("-5", "5"),
    ("- one\n- two", "one\ntwo"),
    ("की", "का"),
    ("if a <= b:\n    f(a)", "if a >= b: f(a)"),
    ("Yes.", "yes"),
]


def test_answers_that_are_the_same_to_the_letter_teach_nothing() -> None:
    rows = [pair("q", "R50.9", " R50.9\n"), pair("q", "caf\u00e9", "cafe\u0301")]
    rows += [pair("q", *texts) for texts in DIFFERENT]
    rows += [calling({"amount": 5}, {"amount": 500}), calling({"amount": 5}, {"amount": 5})]
    offences, measured = found("identical_pairs", rows, [pair("t", "a", "a"), pair("t", "a", "A")])
    assert offences == [("train", 0), ("train", 1), ("train", len(rows) - 1), ("test", 0)]
    assert measured == pytest.approx(3 / len(rows))
    assert found("identical_pairs", [chat("q", "a")]) == ([], 0.0)
    assert GATES.named("identical_pairs").action == "drop"


def test_answers_that_differ_in_layout_alone_are_told_and_kept() -> None:
    rows = [pair("q", "Yes.", "yes"), pair("q", "- one\n- two", "one\ntwo"), pair("q", "a", "a")]
    rows += [pair("q", "C++", "C#"), calling({"amount": 5}, {"amount": 500})]
    offences, measured = found("alike_pairs", rows)
    assert offences == [("train", 0), ("train", 1)]
    assert measured == pytest.approx(2 / 5)
    assert GATES.named("alike_pairs").action == "warn"


def test_calls_contradict_one_another_by_their_arguments() -> None:
    first, second = calling({"amount": 5}, {"amount": 500}), calling({"amount": 500}, {"amount": 5})
    assert found("contradictory_pairs", [first, second])[1] == 1.0
    assert found("contradictory_pairs", [first, first]) == ([], 0.0)
    alone = [calling({"amount": 5}), calling({"amount": 500})]
    assert found("contradictions", alone)[1] == 1.0
    assert found("contradictions", [alone[0], alone[0]]) == ([], 0.0)
    # What was called before is a part of the question.
    later = [Row((*one.messages, *chat("and?", text).messages)) for one, text in
             zip(alone, ("a", "b"), strict=True)]  # fmt: skip
    assert found("contradictions", later) == ([], 0.0)
    turned = [pair("q", "Yes.", "yes"), pair("q", "yes", "Yes.")]
    assert found("contradictory_pairs", turned)[1] == 1.0


def test_a_pair_that_another_turns_round_contradicts_it() -> None:
    rows = [
        pair("q", "a", "b"),
        pair("other", "b", "a"),  # of another question
        pair("Q ", "B", "a."),  # against the first
        pair("q", "a", "c"),
        pair("q", "a", "b"),  # the first once more
    ]
    offences, measured = found("contradictory_pairs", rows)
    assert offences == [("train", 0), ("train", 2), ("train", 4)]
    assert measured == pytest.approx(3 / 5)
    assert found("contradictory_pairs", [pair("q", "a", "a")]) == ([], 0.0)
    # One question with several better answers is no contradiction of either gate.
    assert found("contradictions", [pair("q", "a", "b"), pair("q", "c", "d")]) == ([], 0.0)


def test_judged_answers_contradict_nothing() -> None:
    """A good and a bad answer to one prompt are what there is to learn; two right ones are not."""
    good, bad = (Row(chat("q", text).messages, scores=(s,)) for text, s in (("A", 1.0), ("B", 0.0)))
    assert found("contradictions", [good, bad]) == ([], 0.0)
    assert found("contradictions", [chat("q", "A"), chat("q", "B")])[1] == 1.0


def test_length_bias_names_the_surplus_with_the_largest_differences() -> None:
    """Of 20 pairs 19 prefer the longer: 16 have to go for 3 of 4 to be 75 %."""
    rows = [pair(f"q{n}", "x" * (n + 2), "x") for n in range(19)] + [pair("q", "x", "xx")]
    offences, measured = found("length_bias", rows)
    assert measured == pytest.approx(0.95)
    assert offences == [("train", n) for n in range(3, 19)]
    kept = [row for n, row in enumerate(rows) if ("train", n) not in offences]
    longer = sum(len(row.answer) > len(row.others[0][0]["content"]) for row in kept)
    assert longer / len(kept) == 0.75
    turned = [pair(f"q{n}", "x", "x" * (n + 2)) for n in range(20)]
    offences, measured = found("length_bias", turned)
    assert (len(offences), measured) == (20, 0.0)
    even = [pair(f"q{n}", *(("x", "xx") if n % 2 else ("xx", "x"))) for n in range(20)]
    assert found("length_bias", even) == ([], 0.5)
    assert found("length_bias", rows[:19]) == ([], None), "few pairs say little"


def test_an_answer_that_is_cut_on_either_side_is_lost(tiny: object) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    short, long = "a", "b" * 60
    rows = [pair("q", short, short), pair("q", long, short), pair("q", short, long)]
    lost = [answers for answers, _, _ in losses_of(tokenizer, rows, 64)]
    assert lost[0] == 0
    assert lost[1] == lost[2] > 0
    (both,) = losses_of(tokenizer, [pair("q", long, long)], 64)
    assert both[0] == 2 * lost[1]
    # Of what is sampled no answer is learnt, so none is cut; nor is a question for it.
    assert losses_of(tokenizer, rows, 64, asked=True) == [(0, 0, 0)] * 3
    ((answer, prompt, _),) = losses_of(tokenizer, [pair("q" * 90, long, long)], 64, asked=True)
    assert (answer, prompt > 20) == (0, True)


def test_gates_know_what_is_learnt(tiny: object) -> None:
    """A worked solution that is longer than `max_length` drops no row of a training by rewards."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    splits = Splits(tuple(chat(f"q{n}", "a" * 90 + str(n)) for n in range(4)), (), (), ())
    for objective, kept in (({"kind": "sft"}, 0), ({"kind": "grpo", "rewards": ["chrf"]}, 4)):
        manifest = manifest_for("lora", objective=objective, max_length=64, on_overflow="drop")
        assert len(judge(splits, manifest, tokenizer).splits.train) == kept
