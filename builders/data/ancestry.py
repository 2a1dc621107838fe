"""The releases that a training goes back to, and the rows that each of them learnt.

Invariants:
- rows are those of an ancestor only if their digest is the one in its record. They are derived
  again from its manifest, by what was sealed then; where that gives others (a file changed, a data
  set moved), it is refused, never replaced by what is there now;
- what was sealed or erased since then, or is a test row of the build itself, is learnt by nobody
  again;
- each ancestor is derived once, however many of those after it replayed what it learnt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.builders.data.datasheet import Datasheet
from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.erased import erased_among, erased_here
from adapterworks.builders.data.gates.seals import THRESHOLD, seal_of, sealed_here, sealed_rows
from adapterworks.builders.data.load import Loaded, Splits
from adapterworks.builders.data.places import located
from adapterworks.builders.data.rows import Row, rows_digest
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import AdapterworksError, Refused
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import manifest_of_release
from adapterworks.registry.reading.diff import LOCK
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release

# The relations of a release to the one whose training it goes on with.
CONTINUES = ("start", "stage")


@dataclass(frozen=True)
class Ancestor:
    """A release that a training goes back to, with its manifest as it is placed here."""

    ref: str
    release: Release
    manifest: Manifest


@dataclass
class Known:
    """What was found out of ancestors already, by the digests of their releases."""

    placed: dict[str, Ancestor] = field(default_factory=dict)
    splits: dict[str, Splits] = field(default_factory=dict)


# A manifest, when it is judged, and what is known → the rows of its build.
Derive = Callable[[Manifest, AsOf, Known], Splits]


def ancestors(
    registry: Registry, ref: str, *, cache: Path | None = None, known: Known | None = None
) -> list[Ancestor]:
    """The release that is continued, the one that it continued, and so on; nearest first.

    Raises:
        NotFound: one is not here.
        Refused, InvalidInput: one was not built from a manifest that can be read here.
    """
    found: list[Ancestor] = []
    placed_before = {} if known is None else known.placed
    for name, release in lineage_of(registry, ref):
        if (again := placed_before.get(release.digest)) is not None:
            found.append(again)
            continue
        if release.manifest is None:
            raise Refused(
                f"`{name}` was not built from a manifest, so what it learnt is not known",
                hint="begin with a release that `adapters build` made",
            )
        lock = json.loads(registry.read(release.digest, LOCK))
        manifest = manifest_of_release(release.manifest, name)
        if manifest.start is not None and (before := next(_continued(release), None)) is not None:
            # What it began with, not what that name stands for now.
            start = manifest.start.model_copy(update={"ref": before})
            manifest = manifest.model_copy(update={"start": start})
        placed = located(manifest, lock, what=name, cache=cache or Path())
        found.append(Ancestor(name, release, placed))
        placed_before[release.digest] = found[-1]
    return found


def lineage_of(registry: Registry, ref: str) -> Iterator[tuple[str, Release]]:
    """`NAME@VERSION` and record of a release and of those that it continued, nearest first.

    Raises:
        NotFound: one is not here.
    """
    wanted: str | None = ref
    while wanted is not None:
        resolved = registry.resolve(wanted)
        release = registry.release(resolved.digest)
        yield str(resolved), release
        wanted = next(_continued(release), None)


def _continued(release: Release) -> Iterator[str]:
    for parent in release.parents:
        if parent.relation in CONTINUES and parent.digest is not None:
            yield f"{(parent.ref or release.name).partition('@')[0]}@{parent.digest}"


def learnt_by_lineage(
    registry: Registry,
    ref: str,
    derive: Derive,
    *,
    cache: Path | None,
    as_of: AsOf = NOW,
    tests: Sequence[Row] = (),
    known: Known | None = None,
) -> Loaded:
    """The rows that a release and its ancestors were trained on, each once, nearest first.

    Args:
        ref: of the release that is continued.
        derive: a manifest → the rows of its build.
        as_of: whose seals hold rows back.
        tests: the build's own test rows, which hold them back too, where `as_of` says so.
        known: what was derived already; it is added to.

    Raises:
        Refused: the rows of one are not those that it learnt.
    """
    known = Known() if known is None else known
    rows: dict[str, Row] = {}
    lineage = ancestors(registry, ref, cache=cache, known=known)
    for ancestor in reversed(lineage):  # each finds those before it in what is known
        if ancestor.release.digest not in known.splits:
            known.splits[ancestor.release.digest] = rows_of_ancestor(ancestor, derive, known)
    for ancestor in lineage:
        for row in known.splits[ancestor.release.digest].train:
            rows.setdefault(row.digest, row)
    kept = list(rows.values())
    sealed = {m.index for m in sealed_rows(kept, sealed_here(registry, as_of=as_of), THRESHOLD)}
    own = [seal_of(tests, "its own test rows")] if as_of.own and tests else []
    tested = {m.index for m in sealed_rows(kept, own, THRESHOLD)} - sealed
    erased = {at for at, _ in erased_among(kept, erased_here(registry, as_of=as_of))}
    erased -= sealed | tested
    free = tuple(row for at, row in enumerate(kept) if at not in sealed | tested | erased)
    names = ", ".join(ancestor.ref for ancestor in lineage)
    digests = {ancestor.ref: ancestor.release.digest for ancestor in lineage}
    sheet = Datasheet(
        "lineage",
        f"what {names} learnt: {digest_json(digests)}",
        "as theirs",
        digests,
        rows_digest(free),
        len(free),
        {"learnt": len(kept), "sealed since": len(sealed)}
        | ({"own test rows": len(tested)} if tested else {})
        | ({"erased since": len(erased)} if erased else {}),
    )
    return Loaded(free, sheet)


def judged_then(manifest: Manifest, release: Release) -> tuple[AsOf, ...]:
    """How a release's rows may have been judged when it was built, likeliest first."""
    replays = manifest.data.replay is not None
    if not replays and manifest.data.gates["sealed"].action != "drop":
        return AsOf(release.created), AsOf("", own=False)
    return (
        AsOf(release.created),
        # Before replayed rows were held against the build's own test rows.
        *([AsOf(release.created, own=False)] if replays else ()),
        AsOf("", own=False),  # where it was built, if that was elsewhere
        AsOf(None, own=False),
    )


def rows_of_ancestor(ancestor: Ancestor, derive: Derive, known: Known) -> Splits:
    """The rows of an ancestor's build, which are those of its record.

    Raises:
        Refused: they are not.
    """
    wanted = ancestor.release.provenance.data.get("train")
    why = "its sources give others now"
    for as_of in judged_then(ancestor.manifest, ancestor.release):
        try:
            splits = derive(ancestor.manifest, as_of, known)
        except AdapterworksError as error:
            why = error.message
            continue
        if rows_digest(splits.train) == wanted:
            return splits
    raise Refused(
        f"the rows that `{ancestor.ref}` was trained on are not here any more: {why}",
        hint="bring its files and data sets back, or replay another source: [data.replay] source",
    )
