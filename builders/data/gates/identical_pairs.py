"""Pairs whose answers are the same: there is nothing to prefer, and half of the loss is noise.

Answers are compared without case, spacing and punctuation.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import answer_texts


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training pairs whose answers are the same."""
    offences = []
    for split in ("train", "validation", "test"):
        for index, row in enumerate(rows.get(split, ())):
            if row.others and len(set(answer_texts(row))) < 1 + len(row.others):
                offences.append(offence(split, index, row, "two of its answers are the same"))
    pairs = sum(bool(row.others) for row in rows["train"])
    same = sum(found.split == "train" for found in offences)
    return Finding(tuple(offences), same / pairs if pairs else 0.0)


GATE = Gate(
    name="identical_pairs",
    description="Pairs whose better and worse answer are the same.",
    check=check,
    action="drop",
)
