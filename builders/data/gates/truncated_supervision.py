"""Rows whose answer does not fit into `train.max_length`: the model learns to stop midway.

Needs encoded rows; without them nothing is measured.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of training and validation rows that lose supervised tokens."""
    if context.lost is None:
        return Finding((), None)
    offences = [
        offence(split, index, rows[split][index], f"{lost} answer tokens are cut off")
        for split, losses in context.lost.items()
        for index, lost in enumerate(losses)
        if lost
    ]
    return Finding(tuple(offences), float(len(offences)))


GATE = Gate(
    name="truncated_supervision",
    description="Rows whose answer is cut by `train.max_length`.",
    check=check,
    reads_tokens=True,
)
