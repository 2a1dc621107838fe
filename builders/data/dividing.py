"""A dataset divided anew, and what two datasets have in common.

Invariant: which side a row is on depends on its content (or on its group's name) alone, so rows
that are added later move no old one; and what was a test row stays one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapterworks.builders.data.datasets import Rows
from adapterworks.builders.data.load import on_side
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.datasets.record import SPLITS, Split


def divide(
    rows: Rows, *, validation: float, test: float, by: str | None = None
) -> dict[Split, list[Row]]:
    """Rows in shares; those that are test rows already stay, whatever the share.

    Args:
        rows: by the split that they are in now.
        validation, test: shares of the rows (0–1).
        by: a column whose equal values stay together (a patient, a document).

    Raises:
        InvalidInput: a row has no such column.
    """
    divided: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for number, row in enumerate(rows.get(split, ()), start=1):
            key = row.digest if by is None else _group(row, by, f"{split} row {number}")
            divided[_side(split, key, validation, test)].append(row)
    return divided


def _group(row: Row, by: str, what: str) -> str:
    if by not in row.meta:
        columns = ", ".join(f"`{name}`" for name in row.meta) or "none"
        raise InvalidInput(
            f"{what} has no column `{by}`", hint=f"divide by one that every row has: {columns}"
        )
    return digest_json({"group": row.meta[by]})


def _side(now: Split, key: str, validation: float, test: float) -> Split:
    if now == "test" or on_side(key, test, "test"):
        return "test"
    return "validation" if on_side(key, validation, "validation") else "train"


@dataclass(frozen=True)
class RowDiff:
    """How the rows of one dataset differ from another's.

    Attributes:
        added, gone: per split.
        moved: (from, to) → the rows that changed sides.
    """

    added: Mapping[Split, list[Row]] = field(default_factory=dict)
    gone: Mapping[Split, list[Row]] = field(default_factory=dict)
    moved: Mapping[tuple[Split, Split], list[Row]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether both have the same rows on the same sides."""
        return not (self.added or self.gone or self.moved)


def row_diff(before: Rows, after: Rows) -> RowDiff:
    """The differences; a row that a side has several times counts once."""
    was = {row.digest: (split, row) for split, of in before.items() for row in of}
    now = {row.digest: (split, row) for split, of in after.items() for row in of}
    added: dict[Split, list[Row]] = {}
    gone: dict[Split, list[Row]] = {}
    moved: dict[tuple[Split, Split], list[Row]] = {}
    for digest, (split, row) in now.items():
        if digest not in was:
            added.setdefault(split, []).append(row)
        elif was[digest][0] != split:
            moved.setdefault((was[digest][0], split), []).append(row)
    for digest, (split, row) in was.items():
        if digest not in now:
            gone.setdefault(split, []).append(row)
    return RowDiff(added, gone, moved)
