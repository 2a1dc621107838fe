"""Whose the seeds are: rows of a tenant's are sent away, and written from, on its behalf alone.

What is written has no owner of its own, so that nobody else could be kept from learning it later.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapterworks.manifests.errors import Refused
from adapterworks.manifests.sources import DatasetSource, parse_source
from adapterworks.registry.datasets.owners import of_dataset
from adapterworks.registry.datasets.tenants import tenants_of
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.http.datasets import open_datasets


def require_own(sources: Iterable[str], registry: Registry, tenant: str | None) -> None:
    """Check that seeds of data sets are the tenant's, or nobody's.

    Args:
        sources: as `data.train` may be.
        tenant: for whom rows are written; None for nobody.

    Raises:
        NotFound: a data set is not there.
        Refused: one has rows of another tenant, or of one that lets nobody learn from them.
    """
    known = tenants_of(registry)
    for source in map(parse_source, sources):
        if not isinstance(source, DatasetSource):
            continue
        datasets = open_datasets(registry)
        for claim in of_dataset(datasets, datasets.get(source.name, source.selector)):
            if claim.share == "none":
                raise Refused(
                    f"{claim}, who lets nobody be trained on them; nor is anything written of them",
                    hint="leave it out; only its owner can add a version that is shared",
                )
            if not known.among(claim.tenant, (tenant,)):
                raise Refused(
                    f"{claim}, and what is written of them would be nobody's",
                    hint=f"`--tenant {claim.tenant}` if it is for that tenant, or leave it out",
                )
