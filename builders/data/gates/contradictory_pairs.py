"""Pairs that prefer what another row of the same question rejects.

Offending are all rows of such a contradiction: which of them is right is not known here.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.gates.text import answer_texts, exactly, hashed, normalise

# The turns that were asked, the better answer, the worse one, each by its hash.
_Preference = tuple[bytes, bytes, bytes]


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training pairs that another contradicts."""
    train = rows["train"]
    preferred: dict[_Preference, list[int]] = defaultdict(list)
    for index, row in enumerate(train):
        if not row.others:
            continue
        asked = hashed(*map(normalise, row.context))
        # Answers stand in order, so each is preferred to all that follow. Two that are alike are
        # told apart to the letter.
        answers = zip(answer_texts(row), map(exactly, row.answers), strict=True)
        for (better, best), (worse, worst) in combinations(answers, 2):
            if better != worse:
                preferred[asked, hashed(better), hashed(worse)].append(index)
            elif best != worst:
                preferred[asked, hashed(best), hashed(worst)].append(index)
    against: dict[int, int] = {}
    for (turns, one, two), members in preferred.items():
        for other in preferred.get((turns, two, one), ())[:1]:
            against |= {index: against.get(index, other) for index in members}
    offences = [
        offence(
            "train",
            index,
            train[index],
            f"row {number(train[other], other)} prefers the answer that it rejects",
        )
        for index, other in sorted(against.items())
    ]
    pairs = sum(bool(row.others) for row in train)
    return Finding(tuple(offences), len(offences) / pairs if pairs else 0.0)


GATE = Gate(
    name="contradictory_pairs",
    description="Pairs that prefer what another pair of the question rejects.",
    check=check,
)
