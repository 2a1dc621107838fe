"""Training rows that repeat an earlier one, to the byte in what the model sees.

Dropping keeps the first. Test rows are left as they are: their number belongs to the task.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.many import digests, short


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training rows that are repetitions."""
    train = rows["train"]
    first: dict[bytes, int] = {}
    offences = []
    for index, digest in enumerate(digests(train)):
        known = first.setdefault(short(digest), index)
        if known != index:
            reason = f"same as row {number(train[known], known)}"
            offences.append(offence("train", index, train[index], reason))
    return Finding(tuple(offences), len(offences) / len(train) if train else 0.0)


GATE = Gate(
    name="exact_duplicates",
    description="Training rows that repeat an earlier row.",
    check=check,
    action="drop",
)
