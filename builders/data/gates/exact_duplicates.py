"""Training rows that repeat an earlier one, and test rows that repeat an earlier test row.

Equal means equal in what the model sees, to the byte. Dropping keeps the first.
"""

from __future__ import annotations

from builders.data.gates.report import Context, Finding, Rows, number, offence
from builders.data.rows import Row


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of rows that are repetitions."""
    offences = []
    for split, members in rows.items():
        first: dict[str, tuple[int, Row]] = {}
        for index, row in enumerate(members):
            known = first.setdefault(row.digest, (index, row))
            if known[0] != index:
                reason = f"same as row {number(known[1], known[0])}"
                offences.append(offence(split, index, row, reason))
    total = sum(len(members) for members in rows.values())
    return Finding(tuple(offences), len(offences) / total if total else 0.0)
