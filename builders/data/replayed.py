"""What was learnt before and is learnt or looked at again: `data.replay`, and the lineage's rows.

Invariant: replayed rows are general text of another kind and are judged by one gate alone, which
judges whatever is trained on: what was ever a test row, was erased, or is a test row of the build
itself, is not replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.data.ancestry import Derive, Known, learnt_by_lineage
from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.erased import erased_among, erased_here
from adapterworks.builders.data.gates.run import gates_of
from adapterworks.builders.data.gates.seals import (
    THRESHOLD,
    Match,
    seal_of,
    sealed_here,
    sealed_rows,
)
from adapterworks.builders.data.gather import load_part
from adapterworks.builders.data.load import Loaded, Splits
from adapterworks.builders.data.many import at
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.data_tables import ReplayTable
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import LINEAGE
from adapterworks.registry.datasets.erased import ErasedRow

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry

_SHOWN = 5


@dataclass(frozen=True)
class Earlier:
    """What ancestors' rows are derived with, and when what is replayed is judged.

    Attributes:
        derive: how the rows of another build are had.
        cache: folder for derived rows.
    """

    registry: Registry | None
    derive: Derive
    cache: Path | None
    as_of: AsOf = NOW
    known: Known = field(default_factory=Known)

    def learnt(self, registry: Registry, start: str, tests: Sequence[Row]) -> Loaded:
        """What a release and its ancestors learnt, but for what was sealed and these test rows."""
        return learnt_by_lineage(
            registry,
            start,
            self.derive,
            cache=self.cache,
            as_of=self.as_of,
            tests=tests,
            known=self.known,
        )


def learnt_before(
    splits: Splits, manifest: Manifest, earlier: Earlier
) -> tuple[Sequence[Row], tuple[str, ...]]:
    """What the ancestors learnt, as far as it can be derived here: a test of it proves nothing.

    Returns:
        The rows, and what could not be looked at, for people.
    """
    if earlier.registry is None or manifest.start is None or not splits.test:
        return (), ()
    everything = replace(earlier, as_of=AsOf("", own=False))
    try:
        return everything.learnt(earlier.registry, manifest.start.ref, ()).rows, ()
    except AdapterworksError as error:
        why = error.message.splitlines()[0]
        return (), (f"the test rows are not held against what was learnt before: {why}",)


def replayed(
    table: ReplayTable, manifest: Manifest, tests: Sequence[Row], earlier: Earlier
) -> Loaded:
    """What is replayed: general rows, or what the ancestors learnt, but for what was sealed.

    Raises:
        InvalidInput: a lineage without a registry; or as `load_source`.
        Refused: general rows were ever test rows or were erased, and the manifest does not leave
            them out.
    """
    registry = earlier.registry
    if table.source == LINEAGE:
        if registry is None or manifest.start is None:
            raise InvalidInput("a lineage is in a registry", hint="read it with a registry")
        return earlier.learnt(registry, manifest.start.ref, tests)
    loaded = load_part(table, manifest, earlier.cache, registry)
    rows, gate = loaded.rows, gates_of(manifest)["sealed"]
    found: list[Match] = []
    own: list[Match] = []
    erased: list[tuple[int, ErasedRow]] = []
    if registry is not None and gate.on:
        threshold = THRESHOLD if gate.threshold is None else gate.threshold
        seals = sealed_here(registry, beside=tests, as_of=earlier.as_of)
        found = sealed_rows(rows, seals, threshold)
        if found and gate.action == "fail":
            raise _refused_replay(rows, found)
        erased = [*erased_among(rows, erased_here(registry, as_of=earlier.as_of))]
        if erased and gate.action == "fail":
            raise _refused_erased(rows, erased)
    if earlier.as_of.own and tests:
        own = sealed_rows(rows, [seal_of(tests, "its own test rows")], THRESHOLD)
    tested = {match.index for match in (*found, *own)}
    went = {index for index, _ in erased} - tested
    if not tested and not went:
        return loaded
    free = at(rows, (index for index in range(len(rows)) if index not in tested | went))
    counts = {"were ever test rows": len(tested)} | ({"were erased": len(went)} if went else {})
    sheet = replace(loaded.datasheet, counts={**loaded.datasheet.counts, **counts})
    return Loaded(free, sheet)


def _refused_erased(rows: Sequence[Row], found: Sequence[tuple[int, ErasedRow]]) -> Refused:
    """What is said of rows to be replayed that were erased."""
    lines = [f"{len(found)} rows of `data.replay` were erased from this registry"]
    lines += [f"  row {rows[index].number or index + 1}: {row}" for index, row in found[:_SHOWN]]
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more")
    return Refused(
        "\n".join(lines),
        hint='replay other rows, or leave these out: `data.gates.sealed.action = "drop"`',
    )


def _refused_replay(rows: Sequence[Row], found: Sequence[Match]) -> Refused:
    """What is said of rows to be replayed that were ever test rows."""
    lines = [f"{len(found)} rows of `data.replay` were ever test rows, which may never be learnt"]
    for match in found[:_SHOWN]:
        row = rows[match.index]
        lines.append(f"  row {row.number or match.index + 1}: {match}: {row.excerpt()}")
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more")
    return Refused(
        "\n".join(lines),
        hint='replay other rows, or leave these out: `data.gates.sealed.action = "drop"`',
    )
