"""Rows of a pool that stand in for the test rows that a release got wrong.

Invariant: what the release was trained, validated or tested on is not among them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from adapterworks.builders.data.assemble import rows_to_evaluate
from adapterworks.builders.data.load import load_like
from adapterworks.builders.data.places import located
from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.subjects import find_subject
from adapterworks.builders.failures.clusters import Cluster
from adapterworks.builders.failures.rows import like_failures
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.reading.diff import LOCK
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved


def rows_of_pool(
    registry: Registry,
    bases: BaseStore,
    release: Resolved,
    clusters: Sequence[Cluster],
    pool: str | None,
    *,
    each: int,
    cache: Path,
) -> list[Row]:
    """Rows of a pool that are like the failures and new to the release.

    Args:
        release: whose failures they are.
        pool: a source of rows, as `data.train` names one; None: the release's own training source.
        each: how many for every failure, at most.
        cache: folder for derived rows.

    Raises:
        InvalidInput, NotFound, Refused: the pool or the release's own rows cannot be read.
    """
    found = find_subject(registry, bases, str(release))
    lock = json.loads(registry.read(release.digest, LOCK))
    manifest = located(found.manifest, lock, what=str(release), cache=cache)
    base = found.base.model.folder
    learnt = rows_to_evaluate(manifest, base=base, cache=cache, registry=registry)
    rows = load_like(
        manifest,
        pool or manifest.data.train,
        cache=cache,
        folder=Path() if pool else manifest.folder,
        registry=registry,
    ).rows
    without = {row.digest for row in (*learnt.train, *learnt.validation, *learnt.test)}
    return like_failures(clusters, rows, without=without, each=each)
