"""Rows whose question is cut by `train.max_length`: the answer may be to what is gone.

Needs encoded rows; without them nothing is measured.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of training and validation rows that lose tokens of their prompt."""
    if context.lost_prompts is None:
        return Finding((), None)
    offences = [
        offence(split, index, rows[split][index], f"{lost} prompt tokens are cut off")
        for split, losses in context.lost_prompts.items()
        for index, lost in enumerate(losses)
        if lost
    ]
    return Finding(tuple(offences), float(len(offences)))


GATE = Gate(
    name="truncated_prompts",
    description="Rows whose prompt is cut by `train.max_length`.",
    check=check,
    reads_tokens=True,
)
