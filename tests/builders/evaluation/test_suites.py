"""Scoring by the likeliest choice: by hand, and as lm-evaluation-harness 0.4.9.1 does it.

Of the cases that are carried, what it asks (`build_all_requests` of its own tasks) and what it says
of likelihoods that were made up (`process_results`) is kept here as digests and bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapterworks.builders.data.render import IGNORED, Encoded
from adapterworks.builders.evaluation.suites import SUITES, hellaswag, truthfulqa
from adapterworks.builders.evaluation.suites.suite import Choice, multiple_choice


class Scripted:
    """A token a letter; every sequence costs what was written down for it."""

    def __init__(self, *costs: float) -> None:
        self.costs = costs
        self.asked: list[str] = []

    def tokenizer(self, texts: list[str], add_special_tokens: bool = True) -> dict[str, Any]:
        assert not add_special_tokens, "a text begins with its first letter"
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}

    def likelihood(self, rows: Sequence[Encoded], **_: Any) -> np.ndarray:
        for row in rows:
            self.asked.append("".join(chr(label) for label in row.labels if label != IGNORED))
        return np.array([[cost, 1.0] for cost in self.costs])


@pytest.mark.parametrize(
    ("costs", "by_length", "right"),
    [
        # Characters 2, 4 and 2, 2; right are 0 and 1. A character 2 < 2.5, and 2 > 1.5.
        ((4.0, 10.0, 4.0, 3.0), True, [1.0, 1.0]),
        # By the sum alone 10 > 4 and 3 < 4; the right ones are 0 and 1.
        ((10.0, 4.0, 4.0, 3.0), False, [0.0, 1.0]),
        # 5 a character > 1, and 2 < 2.5: by length the second of the first, as by the sum.
        ((10.0, 4.0, 4.0, 5.0), True, [0.0, 0.0]),
        # 2.5 > 2.25 a character; with the blank before them 1.67 < 1.8.
        ((5.0, 9.0, 4.0, 3.0), True, [0.0, 1.0]),
        # 3 > 2.5 a character although 6 < 10.
        ((6.0, 10.0, 4.0, 3.0), True, [0.0, 1.0]),
        ((6.0, 10.0, 4.0, 3.0), False, [1.0, 1.0]),
    ],
)
def test_the_likeliest_is_chosen(
    costs: tuple[float, ...], by_length: bool, right: list[float]
) -> None:
    choices = [Choice("ab", ("cd", "cdef"), 0), Choice("ab", ("éé", "xy"), 1)]
    model: Any = Scripted(*costs)
    found = multiple_choice(model, choices, None, by_length=by_length)
    assert found == right
    assert model.asked == [" cd", " cdef", " éé", " xy"]


# Of "hellaswag" and "truthfulqa_mc1": the digest of every pair that is asked, and which cases are
# right (`acc_norm`, `acc`) where each pair costs what `default_rng(7).uniform(20, 200)` says.
PUBLISHED = {
    "hellaswag": (
        "af15a180ec0131e82bc859ebf3b778e932f969ddafa150d6f2c3af475f307bab",
        "0000100000000000000010010010001100110001001100100010100000010100"
        "011011000000000110000000000001000100",
    ),
    "truthfulqa": (
        "bf73ae320ae7c43c883b8813a137566115806773a548ae7ea572ce40dcd5196c",
        "0000000000110001100100000000101101000000010000010001000010100000"
        "010000100000010100001000010000010000",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_suite_asks_and_counts_as_lm_evaluation_harness_does(name: str) -> None:
    suite, (digest, right) = SUITES.named(name), PUBLISHED[name]
    cases = suite.cases()
    choice = {"hellaswag": hellaswag, "truthfulqa": truthfulqa}[name].choice
    pairs = [
        [[one.context, f" {text}"] for text in one.continuations] for one in map(choice, cases)
    ]
    assert hashlib.sha256(json.dumps(pairs).encode()).hexdigest() == digest
    costs = np.random.default_rng(7).uniform(20, 200, sum(map(len, pairs)))
    model: Any = Scripted(*costs.tolist())
    assert "".join(f"{hit:.0f}" for hit in suite.score(model, cases, None)) == right


def test_the_marks_of_wikihow_are_taken_out() -> None:
    text = "[header] How to sing [title] Breathe. [step] Slowly. [substeps] Again."
    assert hellaswag.plain(text) == " How to sing. Breathe. Slowly. Again."
    scene = "A man runs. He stops. the dog"
    case = {"activity_label": "Run", "ctx": scene, "endings": ["barks."], "expected_index": 0}
    assert hellaswag.choice(case).context == "Run: A man runs. He stops. The dog"
