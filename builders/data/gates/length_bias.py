"""Pairs of which the better answer is nearly always the longer one, or the shorter one.

What is learnt from such pairs is a length (Park et al. 2024, arXiv:2403.19159). Offending are as
many pairs of the majority as would have to go for the share to be the threshold, those with the
largest difference first. A rule that holds for the task itself (codes before explanations) is no
fault: then turn the gate off.
"""

from __future__ import annotations

from math import ceil

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import answer_texts

# With fewer pairs a share says little.
_LEAST = 20


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training pairs whose better answer is the longer (of those that differ in
    length); threshold: the largest share of the longer, or of the shorter, that is accepted."""
    train = rows["train"]
    longer: dict[int, int] = {}
    for index, row in enumerate(train):
        if row.others:
            better, worse = (len(text) for text in answer_texts(row)[:2])
            if better != worse:
                longer[index] = better - worse
    if len(longer) < _LEAST:
        return Finding((), None)
    share = sum(by > 0 for by in longer.values()) / len(longer)
    sign, word = (1, "longer") if share >= 0.5 else (-1, "shorter")
    majority = sorted((-sign * by, index) for index, by in longer.items() if sign * by > 0)
    over = ceil(max(0.0, len(majority) - threshold * len(longer)) / max(1 - threshold, 1e-9))
    offences = sorted(
        (
            offence("train", i, train[i], f"its better answer is {-by} characters {word}")
            for by, i in majority[:over]
        ),
        key=lambda found: found.index,
    )
    return Finding(tuple(offences), share)


GATE = Gate(
    name="length_bias",
    description="Pairs whose better answer is nearly always the longer (or shorter) one; "
    "threshold: accepted share (0.5–1).",
    check=check,
    threshold=0.75,
    unit="share",
)
