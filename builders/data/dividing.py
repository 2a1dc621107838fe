"""A dataset divided anew, and what two datasets have in common.

Invariant: which side a row is on depends on its content (or on its group's name) alone, so rows
that are added later move no old one; what was a test row stays one, and draws its group along.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from adapterworks.builders.data.datasets import Rows
from adapterworks.builders.data.load import on_side
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.datasets.record import SPLITS, Split


def divide(
    rows: Rows, *, validation: float, test: float, by: str | None = None
) -> dict[Split, list[Row]]:
    """Rows in shares; those that are test rows already stay, whatever the share, and with them all
    rows of their groups.

    Args:
        rows: by the split that they are in now.
        validation, test: shares of the rows (0–1).
        by: a column whose equal values stay together (a patient, a document).

    Raises:
        InvalidInput: a row has no such column.
        Refused: every group has a test row, so that none is left to learn from.
    """
    keyed = [
        (split, row.digest if by is None else _group(row, by, f"{split} row {number}"), row)
        for split in SPLITS
        for number, row in enumerate(rows.get(split, ()), start=1)
    ]
    tested = {key for split, key, _ in keyed if split == "test"}
    divided: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    for _, key, row in keyed:
        divided[_side(key, tested, validation, test)].append(row)
    if by is not None and tested and not divided["train"]:
        raise Refused(
            f"every `{by}` has a row that is a test row already, and those stay ones: nothing "
            "would be left to learn from",
            hint="divide rows by their column before any of them is a test row",
        )
    return divided


def along(rows: Rows, *, test: float, by: str) -> int:
    """How many rows `divide` makes test rows only because a row of their group is one already."""
    tested = {_group(row, by, "a test row") for row in rows.get("test", ())}
    others = (row for split, of in rows.items() if split != "test" for row in of)
    keys = (_group(row, by, "a row") for row in others)
    return sum(key in tested and not on_side(key, test, "test") for key in keys)


def _group(row: Row, by: str, what: str) -> str:
    if by not in row.meta:
        columns = ", ".join(f"`{name}`" for name in row.meta) or "none"
        raise InvalidInput(
            f"{what} has no column `{by}`", hint=f"divide by one that every row has: {columns}"
        )
    return digest_json({"group": row.meta[by]})


def _side(key: str, tested: Set[str], validation: float, test: float) -> Split:
    if key in tested or on_side(key, test, "test"):
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
