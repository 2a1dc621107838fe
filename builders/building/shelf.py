"""The datasets that a build reads: by digest, and only where their owners allow it.

Invariant: rows of a tenant are trained on in that tenant's own adapters; in another's only where
the dataset is shared with all and the manifest names the tenant: both say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapterworks.builders.data.ancestry import lineage_of
from adapterworks.builders.data.gates.seals import make_seal
from adapterworks.builders.data.rows import Row
from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import LINEAGE, DatasetSource, parse_source
from adapterworks.registry.datasets.store import Dataset
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from adapterworks.registry.remotes.http.seals import open_datasets

# The relations of a release to the rows that it learnt from, and to those that judged it.
TRAINED_ON, TESTED_ON = "dataset", "test"


def datasets_of(manifest: Manifest, registry: Registry | None) -> tuple[Parent, ...]:
    """The datasets that a manifest names, each once a relation, in the manifest's order.

    Raises:
        NotFound: one is not there.
        Refused: its rows are a tenant's who does not share them with this adapter.
    """
    if registry is None:
        return ()
    found: dict[tuple[str, str], Parent] = {}
    for relation, source in _sources(manifest):
        dataset = open_datasets(registry).get(source.name, source.selector)
        _require_shared(dataset, manifest)
        found[relation, dataset.digest] = Parent(
            relation=relation, digest=dataset.digest, ref=dataset.ref
        )
    for parent in _replayed(manifest, registry):
        learnt = open_datasets(registry).find(parent.digest or "")
        if learnt is not None:
            _require_shared(learnt, manifest)
        found.setdefault((TRAINED_ON, parent.name), parent)
    return tuple(found.values())


def _replayed(manifest: Manifest, registry: Registry) -> Iterator[Parent]:
    """The datasets that the ancestors were trained on, where their rows are replayed."""
    replay, start = manifest.data.replay, manifest.start
    if replay is not None and start is not None and replay.source == LINEAGE:
        for _, release in lineage_of(registry, start.ref):
            yield from (parent for parent in release.parents if parent.relation == TRAINED_ON)


def seal_test_rows(registry: Registry, rows: Sequence[Row], plan: Plan) -> None:
    """Seal what a release was tested on, before it is listed: a release that is there has sealed
    test rows, whatever is killed when."""
    if rows:
        name = plan.manifest.adapter.name
        open_datasets(registry).seal(make_seal(rows), f"{name}, plan {plan.digest[7:19]}")


def _sources(manifest: Manifest) -> Iterator[tuple[str, DatasetSource]]:
    data = manifest.data
    named = [
        (TRAINED_ON, data.train),
        *((TRAINED_ON, part.source) for part in data.mix),
        (TRAINED_ON, data.replay.source if data.replay else None),
        (TRAINED_ON, data.validation),
        (TESTED_ON, data.test),
    ]
    for relation, text in named:
        source = None if text is None else parse_source(text)
        if isinstance(source, DatasetSource):
            yield relation, source


def _require_shared(dataset: Dataset, manifest: Manifest) -> None:
    owner, share = dataset.record.tenant, dataset.record.share
    if owner is None or (owner == manifest.adapter.tenant and share != "none"):
        return
    whose = f"`{dataset.ref}` has rows of tenant `{owner}`"
    name = manifest.adapter.name
    if share == "none":
        raise Refused(
            f"{whose}, who lets nobody be trained on them",
            hint="leave it out; only its owner can add a version that is shared",
        )
    if share == "own":
        raise Refused(
            f"{whose}, which only adapters of that tenant may be trained on; `{name}` is "
            + (f"`{manifest.adapter.tenant}`'s" if manifest.adapter.tenant else "no tenant's"),
            hint=f'set `adapter.tenant = "{owner}"` if it is, or leave the rows out',
        )
    if owner not in manifest.data.tenants:
        raise Refused(
            f"{whose}, who shares them, and `{name}` does not say that it takes them",
            hint=f'set `data.tenants = ["{owner}"]`',
        )
