"""What a dataset of failures comes from: whose rows it takes, and whose answers were wrong.

Invariant: a tenant's rows stay that tenant's, and the least that any of them lets be learnt counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from adapterworks.builders.failures.clusters import Cluster
from adapterworks.builders.failures.failure import Failure
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.refs import Ref, tenant_in
from adapterworks.registry.datasets.owners import Claim, declared_tenant
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from adapterworks.registry.releases.types import Resolved


def shared_by(failures: Sequence[Failure]) -> Literal["own", "all"]:
    """Who may learn from them: everybody where all were shared so, else their tenant alone."""
    return "all" if all(one.share == "all" for one in failures) else "own"


def owners_of_training(registry: Registry, release: Resolved) -> tuple[Claim, ...]:
    """Whose the files are that a release was trained on; rows of datasets say it themselves."""
    record = registry.release(release.digest)
    tenant = tenant_in(record.name) or declared_tenant(record)
    return () if tenant is None else (Claim(tenant, "own", str(release), learnt=True),)


def failed_releases(
    registry: Registry, release: Resolved, clusters: Sequence[Cluster]
) -> tuple[Parent, ...]:
    """The release, and every other whose answers these are, as far as they are here."""
    said = {one.release for found in clusters for one in found.failures if one.release}
    found = {release.digest: str(release)}
    for digest in sorted(said - {release.digest}):
        with suppress(NotFound):
            found[digest] = str(registry.resolve(Ref(release.name, digest=digest)))
    return tuple(Parent(relation="failures", digest=d, ref=ref) for d, ref in found.items())
