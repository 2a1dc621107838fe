"""Rows are erased: out of every dataset that has them, and every release that learnt them is named.

    find the rows everywhere → add versions without them → note it → delete the bytes

Invariants:
- The newest version of each name that had them has a successor with all its other rows; older
  versions of it lose the split, since rows of one split are one blob.
- What was trained on them keeps its weights: it is named, so that somebody decides.
- Seals stay: they have no text, and what was tested on may still not be trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adapterworks.builders.data.adding import About, add_dataset
from adapterworks.builders.data.datasets import decode
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.datasets.erase import erase_blobs
from adapterworks.registry.datasets.record import Split
from adapterworks.registry.datasets.store import Dataset, Datasets
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved


@dataclass(frozen=True)
class Held:
    """One dataset that has some of the rows: numbers of them by split, from 1."""

    dataset: Dataset
    rows: dict[Split, tuple[int, ...]]


@dataclass(frozen=True)
class RowErasure:
    """What an erasure of rows concerns, and what came of it.

    Attributes:
        digests: of the rows.
        held: every dataset that has them.
        releases: every live release that was trained or tested on one of these datasets.
        successors: the versions that were added without them.
        blobs: what was erased.
    """

    digests: frozenset[str]
    held: tuple[Held, ...]
    releases: tuple[Resolved, ...]
    successors: tuple[Dataset, ...] = ()
    blobs: tuple[str, ...] = ()


def look_for_rows(
    registry: Registry, dataset: Dataset, chosen: Iterable[tuple[Split, int]]
) -> RowErasure:
    """Where rows of a dataset are, in it and in every other.

    Args:
        chosen: split and 1-based number.

    Raises:
        InvalidInput: there is no such row.
        Refused: its rows were erased.
    """
    datasets = Datasets(registry)
    digests = {_digest(datasets, dataset, split, number) for split, number in chosen}
    held = []
    for other in datasets.list():
        found = {
            split: numbers
            for split, part in other.record.splits.items()
            if (numbers := _numbers(datasets, part.digest, digests))
        }
        if found:
            held.append(Held(other, found))
    releases = {
        resolved.digest: resolved
        for of in held
        for resolved in registry.origins.releases_from("parent", of.dataset.digest)
    }
    return RowErasure(frozenset(digests), tuple(held), tuple(releases.values()))


def erase_rows(registry: Registry, found: RowErasure, *, who: str, why: str) -> RowErasure:
    """Erase what `look_for_rows` found."""
    datasets = Datasets(registry)
    newest = {name: datasets.newest(name) for name in {h.dataset.record.name for h in found.held}}
    successors = tuple(
        successor
        for held in found.held
        if held.dataset == newest[held.dataset.record.name]
        and (successor := _successor(registry, held, who, why)) is not None
    )
    blobs = {h.dataset.record.splits[split].digest for h in found.held for split in h.rows}
    erase_blobs(registry, sorted(blobs), who=who, why=why)
    return RowErasure(found.digests, found.held, found.releases, successors, tuple(sorted(blobs)))


def _successor(registry: Registry, held: Held, who: str, why: str) -> Dataset | None:
    """The next version with all other rows; None where none are left."""
    datasets, record = Datasets(registry), held.dataset.record
    rows: dict[Split, list[Row]] = {}
    for split, part in record.splits.items():
        gone = set(held.rows.get(split, ()))
        kept = enumerate(decode(datasets.read(part.digest)), start=1)
        rows[split] = [row for number, row in kept if number not in gone]
    if not any(rows.values()):
        return None
    about = About.after(held.dataset, "erasure")
    # They were judged when they were added: what remains is a part of that.
    return add_dataset(registry, record.name, rows, about, judged=True, who=who, why=why).dataset


def _digest(datasets: Datasets, dataset: Dataset, split: Split, number: int) -> str:
    part = dataset.record.splits.get(split)
    if part is None or not 1 <= number <= part.rows:
        has = ", ".join(f"{name}: {p.rows} rows" for name, p in dataset.record.splits.items())
        raise InvalidInput(f"`{dataset.ref}` has no {split} row {number}", hint=f"it has {has}")
    return decode(datasets.read(part.digest))[number - 1].digest


def _numbers(datasets: Datasets, blob: str, digests: set[str]) -> tuple[int, ...]:
    try:
        rows = decode(datasets.read(blob))
    except Refused:  # erased before
        return ()
    return tuple(number for number, row in enumerate(rows, start=1) if row.digest in digests)
