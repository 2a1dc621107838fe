"""Pairs whose answers differ in case, spacing, punctuation or layout only.

That may be what they teach; it may be a slip of whatever made them.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.identical_pairs import found_where, same
from adapterworks.builders.data.gates.report import Context, Finding, Rows
from adapterworks.builders.data.gates.text import answer_texts
from adapterworks.builders.data.rows import Row


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training pairs whose answers are alike and not the same."""
    return found_where(rows, _alike, "two of its answers differ in punctuation, case or layout")


def _alike(row: Row) -> bool:
    return len({*answer_texts(row)}) <= len(row.others) and not same(row)


GATE = Gate(
    name="alike_pairs",
    description="Pairs whose answers differ in case, spacing, punctuation or layout only.",
    check=check,
)
