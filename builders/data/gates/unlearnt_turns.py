"""Answers that are not learnt, since the template rewrites them once the conversation goes on.

Qwen3's template keeps the reasoning of the last answer only, so that the ids before a later answer
are others than those behind an earlier one: learning both from one sequence would teach what is
never served. Needs encoded rows; without them nothing is measured.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of answers in training and validation rows that are not learnt."""
    if context.unlearnt is None:
        return Finding((), None)
    offences = [
        offence(
            split,
            index,
            rows[split][index],
            f"{turns} turns are left out of the loss: the template rewrites them later",
        )
        for split, counts in context.unlearnt.items()
        for index, turns in enumerate(counts)
        if turns
    ]
    return Finding(tuple(offences), float(sum(map(sum, context.unlearnt.values()))))


GATE = Gate(
    name="unlearnt_turns",
    description="Rows with answers that the template rewrites later, and that are not learnt.",
    check=check,
    reads_tokens=True,
)
