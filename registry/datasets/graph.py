"""The lineage of a release as a tree of text: releases, and the datasets between them.

Invariant: no parent is left out in silence: what was drawn above says so, and so does what is not
here. What a tenant's rows are in shows whose they are and who may learn from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.registry.releases.release import Parent

if TYPE_CHECKING:
    from adapterworks.registry.datasets.store import Datasets
    from adapterworks.registry.registry import Registry

_SHOWN = len("sha256:") + 12
_LAST, _MORE, _UNDER, _BESIDE = "└── ", "├── ", "    ", "│   "


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a parent here."""

    name: str
    about: str = ""
    parents: tuple[Parent, ...] = ()


def graph(registry: Registry, name: str, parents: Sequence[Parent]) -> tuple[str, ...]:
    """Lines: what something was made from, and what that was made from, as far as it is here.

    Args:
        name: of the root, as it is to be shown.
        parents: the root's.
    """
    from adapterworks.registry.datasets.store import Datasets

    datasets = Datasets(registry) if registry.has_index else None
    drawn: set[str] = set()
    return (name, *_lines(registry, datasets, parents, "", drawn))


def _lines(
    registry: Registry,
    datasets: Datasets | None,
    parents: Sequence[Parent],
    indent: str,
    drawn: set[str],
) -> Iterator[str]:
    for at, parent in enumerate(parents):
        last = at == len(parents) - 1
        known = _known(registry, datasets, parent)
        if known is None:
            known = _Known(parent.ref or parent.name, "not here")
        digest = (parent.digest or "")[:_SHOWN]
        again = parent.name in drawn and bool(known.parents)
        notes = [note for note in (known.about, "drawn above" if again else "") if note]
        told = f" ({'; '.join(notes)})" if notes else ""
        yield f"{indent}{_LAST if last else _MORE}{parent.relation}: {known.name} {digest}{told}"
        drawn.add(parent.name)
        if not again:
            under = indent + (_UNDER if last else _BESIDE)
            yield from _lines(registry, datasets, known.parents, under, drawn)


def _known(registry: Registry, datasets: Datasets | None, parent: Parent) -> _Known | None:
    if parent.digest is None:
        return None
    dataset = None if datasets is None else datasets.find(parent.digest)
    if dataset is not None:
        record = dataset.record
        about = [f"{record.rows} rows"]
        if record.tenant is not None:
            about.append(f"{record.tenant}'s, share {record.share}")
        if record.synthetic_from is not None:
            about.append(f"written by {record.synthetic_from}")
        if record.reviewed_by:  # how many and not who: a card may be read by anybody
            count = len(record.reviewed_by)
            about.append(f"read by {count} {'person' if count == 1 else 'people'}")
        return _Known(dataset.ref, ", ".join(about), record.parents)
    try:
        release = registry.release(parent.digest)
    except (NotFound, IntegrityError):
        return None
    return _Known(parent.ref or release.name, parents=release.parents)
