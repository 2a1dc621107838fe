"""Pairs whose answers are the same: there is nothing to prefer, and half of the loss is noise.

Answers are compared to the letter, and by what they call. Pairs are made to teach a sign, a letter
or an argument, so those are no reason to drop one; what differs in nothing else is another gate's
(`alike_pairs.py`), which warns.
"""

from __future__ import annotations

from collections.abc import Callable

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Offence, Rows, offence
from adapterworks.builders.data.gates.text import exactly
from adapterworks.builders.data.rows import Row


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training pairs whose answers are the same."""
    return found_where(rows, same, "two of its answers are the same")


def same(row: Row) -> bool:
    """Whether two of its answers are one."""
    return len({exactly(answer) for answer in row.answers}) <= len(row.others)


def found_where(rows: Rows, offends: Callable[[Row], bool], why: str) -> Finding:
    """Pairs of all splits that offend. Measured: their share of the training pairs."""
    offences: list[Offence] = []
    for split in ("train", "validation", "test"):
        for index, row in enumerate(rows.get(split, ())):
            if row.others and offends(row):
                offences.append(offence(split, index, row, why))
    pairs = sum(bool(row.others) for row in rows["train"])
    count = sum(found.split == "train" for found in offences)
    return Finding(tuple(offences), count / pairs if pairs else 0.0)


GATE = Gate(
    name="identical_pairs",
    description="Pairs whose better and worse answer are the same.",
    check=check,
    action="drop",
)
