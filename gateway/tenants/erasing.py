"""Erasing a tenant: what was kept of it goes for good, and who has learnt its rows is named."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.storage.schema import revision, tenants
from adapterworks.gateway.tenants import audit
from adapterworks.gateway.tenants.admin import tenant_known
from adapterworks.gateway.tenants.tenant import prefix_of
from adapterworks.registry.datasets.owners import of_dataset
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.exchanges import erasing
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.jobs import erasing as of_jobs
from adapterworks.registry.jobs import schema
from adapterworks.registry.lifecycle.reviewed import remove_reviews, reviews_of
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Held:
    """What there is, or was, of a tenant.

    Attributes:
        tenant: its id.
        exchanges, feedback, files: captured answers, what was said of them, files on the disk.
        uploaded, uploads, lines: files of its jobs, uploads that are none yet, answers of batches.
        running: jobs that somebody runs, which are asked to end.
        datasets: with its rows, which stay.
        releases: that learnt from its rows, directly or not.
        settled: whether the index's log is empty of it; true before anything was erased.
        key: whether its key is in the folder of keys of whoever looks; after an erasure, whether it
            was destroyed there.
        reviews: people's reviews, on this machine, of what its own jobs have trained.
    """

    tenant: str
    exchanges: int
    feedback: int
    files: int
    uploaded: int
    uploads: int
    lines: int
    running: int
    datasets: tuple[str, ...]
    releases: tuple[Resolved, ...]
    settled: bool = True
    key: bool = False
    reviews: tuple[str, ...] = ()


class TenantErasure:
    """Erases tenants of a registry.

    Args:
        exchanges: what was captured of answers.
    """

    def __init__(self, registry: Registry, exchanges: Exchanges) -> None:
        migrate(registry.database)
        schema.migrate(registry.database)
        self._registry, self._exchanges = registry, exchanges

    def look(self, name: str) -> Held:
        """What there is of a tenant, by its name or id.

        Raises:
            NotFound: there is, and was, no such tenant.
        """
        tenant, name = tenant_known(self._registry.database, name)
        kept = erasing.holding(self._exchanges, tenant)
        with self._registry.database.read() as connection:
            given = of_jobs.holding(connection, tenant)
        reviews = reviews_of(self._registry.home, self._own(tenant))
        return self._held(tenant, name, kept, given, reviews)

    def erase(self, name: str, *, who: str, why: str) -> Held:
        """Erase it; returns what there was.

        Raises:
            NotFound: there is, and was, no such tenant.
            Unavailable: disk or index.
        """
        database, now = self._registry.database, time.time()
        tenant, name = tenant_known(database, name)
        kept = erasing.erase(self._exchanges, tenant, now)
        given = of_jobs.erase(database, tenant, now)
        reviews = remove_reviews(self._registry.home, self._own(tenant))
        with database.write() as connection:
            # What stands for its end users in usage events stands for nobody from now on.
            connection.execute(
                sa.update(tenants)
                .where(tenants.c.id == tenant)
                .values(cache_salt=secrets.token_hex(16))
            )
            connection.execute(sa.update(revision).values(value=revision.c.value + 1))
            audit.record(
                connection,
                who=who,
                action="tenant.erase",
                tenant=name,
                details={
                    "id": tenant,
                    "why": why,
                    "exchanges": kept.exchanges,
                    "feedback": kept.feedback,
                    "key": kept.key,
                    "uploaded": given.files,
                    "uploads": given.uploads,
                    "lines": given.lines,
                },
            )
        return self._held(tenant, name, kept, given, reviews, settled=database.settle())

    def _own(self, tenant: str) -> list[str]:
        """The digests of what a tenant's own jobs have trained."""
        return [release.digest for release in _trained(self._registry, tenant)]

    def _held(
        self,
        tenant: str,
        name: str,
        kept: erasing.Holding,
        given: of_jobs.Holding,
        reviews: tuple[str, ...],
        *,
        settled: bool = True,
    ) -> Held:
        datasets, releases = learnt(self._registry, tenant, name)
        return Held(
            tenant,
            kept.exchanges,
            kept.feedback,
            kept.files,
            given.files,
            given.uploads,
            given.lines,
            given.running,
            tuple(datasets),
            tuple(releases),
            settled,
            kept.key,
            reviews,
        )


def learnt(registry: Registry, tenant: str, name: str) -> tuple[list[str], list[Resolved]]:
    """The datasets with a tenant's rows, and the live releases that come from its rows.

    Those are what its own jobs have trained, and what was built from its datasets; a release that
    was continued from such a one has learnt the rows too.
    """
    kept = Datasets(registry)
    datasets = [
        dataset
        for dataset in kept.list()
        if any(claim.tenant in (tenant, name) for claim in of_dataset(kept, dataset))
    ]
    found = {release.digest: release for release in _trained(registry, tenant)}
    begun = (*(dataset.digest for dataset in datasets), *found)
    for release in registry.origins.descendants(begun):
        found.setdefault(release.digest, release)
    return [dataset.ref for dataset in datasets], list(found.values())


def _trained(registry: Registry, tenant: str) -> Iterator[Resolved]:
    """The live releases that a tenant's own jobs have made."""
    prefix, after = prefix_of(tenant), None
    while page := registry.names(limit=_PAGE, after=after, text=prefix):
        for row in page:
            after = row.name
            if not row.name.startswith(prefix):
                continue
            before = None
            while versions := registry.versions(row.name, limit=_PAGE, before=before):
                before = versions[-1].version
                yield from (registry.resolve(f"{row.name}@{v.version}") for v in versions)
