"""Rows are erased: out of every dataset that has them, and every release that learnt them is named.

    find the rows everywhere → erase the releases' files that say what they say
        → add versions without them → note it → delete the bytes

Invariants:
- The newest version of each name that had them has a successor with all its other rows; older
  versions of it lose the split, since rows of one split are one blob.
- What was trained on them keeps its weights: it is named, so that somebody decides; so is what was
  continued from it, and what learnt them from a version whose rows were erased before.
- They come back in no dataset and no build (`gates/erased.py`).
- Seals stay: they have no text, and what was tested on may still not be trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from adapterworks.builders.data.adding import About, add_dataset
from adapterworks.builders.data.datasets import decode
from adapterworks.builders.data.gates.erased import mark
from adapterworks.builders.data.repeating import Repeating, repeating
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.registry.datasets.erase import erase_blobs
from adapterworks.registry.datasets.listed import Dataset
from adapterworks.registry.datasets.record import Split
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved

_TESTED = "test"  # the relation of a release to rows that it was only judged by
_MADE_OF = frozenset({"version", "split", "erasure", "rows"})


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
        marks: what they are known by afterwards.
        held: every dataset that has them.
        before: every dataset that had them, whose rows were erased for the sake of others before.
        unknown: every one of those that these were made of, of whose rows nothing is known: they
            were erased by a version that did not note which they were.
        releases: every live release that has learnt them from one of these datasets, directly or
            through another release, or was tested on one of them.
        texts: the files of these releases that say what the rows say.
        successors: the versions that were added without them.
        blobs: what was erased of datasets.
        reviews: people's reviews that went with predictions.
    """

    digests: frozenset[str]
    marks: frozenset[str]
    held: tuple[Held, ...]
    before: tuple[Dataset, ...]
    unknown: tuple[Dataset, ...]
    releases: tuple[Resolved, ...]
    texts: tuple[Repeating, ...] = ()
    successors: tuple[Dataset, ...] = ()
    blobs: tuple[str, ...] = ()
    reviews: tuple[str, ...] = ()


@dataclass
class _Found:
    held: list[Held] = field(default_factory=list)
    before: list[Dataset] = field(default_factory=list)
    unknown: list[Dataset] = field(default_factory=list)


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
    rows = [_row(datasets, dataset, split, number) for split, number in chosen]
    marks = {mark(row) for row in rows}
    everywhere = _everywhere(datasets, marks)
    related = _made_of(datasets, [dataset, *(held.dataset for held in everywhere.held)])
    unknown = [one for one in everywhere.unknown if one.digest in related]
    had = [held.dataset for held in everywhere.held] + everywhere.before + unknown
    origins = registry.origins
    releases = {
        release.digest: release
        for release in (
            *origins.descendants([one.digest for one in had], but=_TESTED),
            *(by for one in had for by in origins.releases_from("parent", one.digest)),
        )
    }
    return RowErasure(
        frozenset(row.digest for row in rows),
        frozenset(marks),
        tuple(everywhere.held),
        tuple(everywhere.before),
        tuple(unknown),
        tuple(releases.values()),
        tuple(repeating(registry, releases.values(), rows)),
    )


def erase_rows(registry: Registry, found: RowErasure, *, who: str, why: str) -> RowErasure:
    """Erase what `look_for_rows` found.

    Raises:
        Refused: a file of a release that says what a row says is its record too.
    """
    datasets = Datasets(registry)
    reviews: dict[str, None] = {}
    for text in found.texts:
        if text.goes:
            done = registry.upkeep.erase(text.blob, who=who, why=why)
            reviews |= dict.fromkeys(done.reviews)
    newest = {name: datasets.newest(name) for name in {h.dataset.record.name for h in found.held}}
    successors = tuple(
        successor
        for held in found.held
        if held.dataset == newest[held.dataset.record.name]
        and (successor := _successor(registry, held, who, why)) is not None
    )
    blobs = {h.dataset.record.splits[split].digest for h in found.held for split in h.rows}
    parts = {blob: [mark(row) for row in decode(datasets.read(blob))] for blob in sorted(blobs)}
    erase_blobs(registry, parts, rows=found.marks, who=who, why=why)
    return replace(found, successors=successors, blobs=tuple(parts), reviews=tuple(reviews))


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


def _row(datasets: Datasets, dataset: Dataset, split: Split, number: int) -> Row:
    part = dataset.record.splits.get(split)
    if part is None or not 1 <= number <= part.rows:
        has = ", ".join(f"{name}: {p.rows} rows" for name, p in dataset.record.splits.items())
        raise InvalidInput(f"`{dataset.ref}` has no {split} row {number}", hint=f"it has {has}")
    return decode(datasets.read(part.digest))[number - 1]


def _everywhere(datasets: Datasets, marks: Collection[str]) -> _Found:
    """The datasets that have rows, and those that had them or may have had them."""
    found = _Found()
    for dataset in datasets.list():
        here: dict[Split, tuple[int, ...]] = {}
        had = unknown = False
        for split, part in dataset.record.splits.items():
            try:
                rows = decode(datasets.read(part.digest))
            except Refused:  # erased before
                gone = datasets.erased_part(part.digest)
                unknown |= gone is None
                had |= gone is not None and any(one in marks for one in gone)
                continue
            if numbers := tuple(at for at, row in enumerate(rows, start=1) if mark(row) in marks):
                here[split] = numbers
        if here:
            found.held.append(Held(dataset, here))
        elif had:
            found.before.append(dataset)
        elif unknown:
            found.unknown.append(dataset)
    return found


def _made_of(datasets: Datasets, begun: Sequence[Dataset]) -> set[str]:
    """Digests of datasets, of other versions of their names, and of what they were made of."""
    waiting, seen, names = [*begun], {one.digest for one in begun}, set[str]()
    while waiting:
        dataset = waiting.pop()
        beside = () if dataset.record.name in names else datasets.list(dataset.record.name)
        names.add(dataset.record.name)
        above = (
            datasets.find(parent.name)
            for parent in dataset.record.parents
            if parent.relation in _MADE_OF
        )
        for one in (*beside, *above):
            if one is not None and one.digest not in seen:
                seen.add(one.digest)
                waiting.append(one)
    return seen
