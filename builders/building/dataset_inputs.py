"""The datasets that a build reads, by digest, and whose rows it learns from.

Invariant: nothing is learnt, from a dataset or through a release, that its owner does not let this
adapter learn (`registry/datasets/owners.py` decides).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from adapterworks.builders.data.ancestry import lineage_of
from adapterworks.builders.data.gates.seals import make_seal
from adapterworks.builders.data.rows import Row
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE, reference_ref
from adapterworks.manifests.sources import LINEAGE, DatasetSource, parse_source
from adapterworks.registry.datasets.owners import (
    Claim,
    Learner,
    of_dataset,
    of_release,
    recorded,
    require_allowed,
)
from adapterworks.registry.datasets.tenants import tenants_of
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from adapterworks.registry.remotes.http.datasets import open_datasets

# The relations of a release to the rows that it learnt from, and to those that judged it.
TRAINED_ON, TESTED_ON = "dataset", "test"


@dataclass(frozen=True)
class DatasetInputs:
    """What a manifest learns from that has owners.

    Attributes:
        datasets: those it names, each once a relation, in the manifest's order.
        tenants: whose rows go into what is learnt, with the strictest share.
    """

    datasets: tuple[Parent, ...] = ()
    tenants: dict[str, str] = field(default_factory=dict)


def dataset_inputs(manifest: Manifest, registry: Registry | None) -> DatasetInputs:
    """The datasets that a manifest names, and whose rows it learns from: of those, and of every
    release that it begins from, is held near, is rewarded or is taught by.

    Raises:
        NotFound: one is not there.
        Refused: rows are a tenant's who does not share them with this adapter.
    """
    if registry is None:
        return DatasetInputs()
    learner = Learner(
        manifest.adapter.name,
        manifest.adapter.tenant,
        manifest.data.tenants,
        known=tenants_of(registry),
    )
    found: dict[tuple[str, str], Parent] = {}
    claims: list[Claim] = []
    for relation, source in _sources(manifest):
        datasets = open_datasets(registry)
        dataset = datasets.get(source.name, source.selector)
        held = [*of_dataset(datasets, dataset)]
        require_allowed(held, learner)
        claims += held if relation == TRAINED_ON else ()
        found[relation, dataset.digest] = Parent(
            relation=relation, digest=dataset.digest, ref=dataset.ref
        )
    for ref in dict.fromkeys(_releases(manifest)):
        resolved = registry.resolve(ref)
        claims += of_release(registry, resolved.digest, str(resolved))
    require_allowed(claims, learner)
    for parent in _replayed(manifest, registry):
        found.setdefault((TRAINED_ON, parent.name), parent)
    return DatasetInputs(tuple(found.values()), recorded(claims))


def _releases(manifest: Manifest) -> Iterator[str]:
    """The releases whose weights, or answers, go into what is learnt."""
    objective = manifest.objective
    teacher = getattr(objective, "teacher", None)
    named = (
        None if manifest.start is None else manifest.start.ref,
        reference_ref(objective) if objective_of(manifest).reference else None,
        getattr(objective, "reward_release", None),
        None if teacher == BASE else teacher,
    )
    yield from (ref for ref in named if ref is not None)


def _replayed(manifest: Manifest, registry: Registry) -> Iterator[Parent]:
    """The datasets that the ancestors were trained on, where their rows are read again."""
    replay, start, anchor = manifest.data.replay, manifest.start, manifest.train.anchor
    replayed = replay is not None and replay.source == LINEAGE
    if start is not None and (replayed or (anchor is not None and anchor.kind == "ewc")):
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
