"""The releases that a training goes back to, and the rows that each of them learnt.

Invariant: rows are those of an ancestor only if their digest is the one in its record. They are
derived again from its manifest; where that gives others (a file changed, a data set moved), it is
refused, never replaced by what is there now. What was sealed since then is learnt by nobody again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adapterworks.builders.data.datasheet import Datasheet
from adapterworks.builders.data.gates.seals import THRESHOLD, sealed_here, sealed_rows
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


def ancestors(registry: Registry, ref: str, *, cache: Path | None = None) -> list[Ancestor]:
    """The release that is continued, the one that it continued, and so on; nearest first.

    Raises:
        NotFound: one is not here.
        Refused, InvalidInput: one was not built from a manifest that can be read here.
    """
    found: list[Ancestor] = []
    for name, release in lineage_of(registry, ref):
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
    registry: Registry, ref: str, derive: Callable[[Manifest], Splits], *, cache: Path | None
) -> Loaded:
    """The rows that a release and its ancestors were trained on, each once, nearest first.

    Args:
        ref: of the release that is continued.
        derive: a manifest → the rows of its build.

    Raises:
        Refused: the rows of one are not those that it learnt.
    """
    rows: dict[str, Row] = {}
    lineage = ancestors(registry, ref, cache=cache)
    for ancestor in lineage:
        for row in rows_of_ancestor(ancestor, derive).train:
            rows.setdefault(row.digest, row)
    kept = list(rows.values())
    sealed = {match.index for match in sealed_rows(kept, sealed_here(registry), THRESHOLD)}
    free = tuple(row for at, row in enumerate(kept) if at not in sealed)
    names = ", ".join(ancestor.ref for ancestor in lineage)
    digests = {ancestor.ref: ancestor.release.digest for ancestor in lineage}
    sheet = Datasheet(
        "lineage",
        f"what {names} learnt: {digest_json(digests)}",
        "as theirs",
        digests,
        rows_digest(free),
        len(free),
        {"learnt": len(kept), "sealed since": len(sealed)},
    )
    return Loaded(free, sheet)


def rows_of_ancestor(ancestor: Ancestor, derive: Callable[[Manifest], Splits]) -> Splits:
    """The rows of an ancestor's build, which are those of its record.

    Raises:
        Refused: they are not.
    """
    data = ancestor.manifest.data
    # What has been sealed since then was no reason then.
    then = data.model_copy(update={"gates": data.gates.without("sealed")})
    wanted = ancestor.release.provenance.data.get("train")
    why = "its sources give others now"
    for table in (then, data):
        try:
            splits = derive(ancestor.manifest.model_copy(update={"data": table}))
        except AdapterworksError as error:
            why = error.message
            continue
        if rows_digest(splits.train) == wanted:
            return splits
    raise Refused(
        f"the rows that `{ancestor.ref}` was trained on are not here any more: {why}",
        hint="bring its files and data sets back, or replay another source: [data.replay] source",
    )
