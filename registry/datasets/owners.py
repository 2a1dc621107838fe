"""Whose rows are in a dataset or were learnt by a release, and who may learn from them.

Invariant: rows of a tenant, and what was learnt from them, go into that tenant's own adapters; into
another's only where they are shared with all and the other names the tenant: both say so. Every
way by which rows or weights reach a training, a merge or another dataset asks here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import sqlalchemy as sa

from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Refused
from adapterworks.manifests.refs import tenant_in
from adapterworks.manifests.sources import FileSource, parse_source
from adapterworks.registry.datasets import schema
from adapterworks.registry.datasets.record import Share
from adapterworks.registry.datasets.tenants import NOBODY, Tenants

if TYPE_CHECKING:
    from adapterworks.registry.datasets.listed import Dataset
    from adapterworks.registry.datasets.store import Datasets
    from adapterworks.registry.index.database import Database
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.release import Release

SHARES: tuple[Share, ...] = get_args(Share)  # the strictest first
RECORDED = "tenants"  # the key of `Draft.details` under which a release says whose rows it learnt
# What a release was only judged by; all other relations are ways in.
_JUDGED = "test"
# A dataset's parents whose rows it has; a release whose failures it answers is none.
_ROWS_OF = frozenset({"version", "split", "erasure", "rows"})


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant's rows are in something.

    Attributes:
        share: whose adapters may learn from them.
        ref: the dataset that has them, or the release that has learnt them.
        learnt: whether it is a release.
    """

    tenant: str
    share: Share
    ref: str
    learnt: bool = False

    def __str__(self) -> str:
        verb = "has learnt" if self.learnt else "has"
        return f"`{self.ref}` {verb} rows of tenant `{self.tenant}`"


@dataclass(frozen=True, slots=True)
class Learner:
    """What is to learn from rows.

    Attributes:
        name: of the adapter.
        tenant: whose adapter it is; None for the operator's own.
        takes: the other tenants whose shared rows it takes.
        how: what says that it is a tenant's, and that it takes another's, for hints.
        known: what tenants are called, by name and by id.
    """

    name: str
    tenant: str | None = None
    takes: tuple[str, ...] = ()
    how: tuple[str, str] = ('set `adapter.tenant = "{}"`', 'set `data.tenants = ["{}"]`')
    known: Tenants = NOBODY

    def is_of(self, tenant: str) -> bool:
        """Whether it is this tenant's own adapter, as it says or as its name does."""
        return self.known.among(tenant, (self.tenant, tenant_in(self.name)))


def require_allowed(claims: Iterable[Claim], learner: Learner) -> None:
    """Check that everybody whose rows go in lets this adapter learn from them.

    Raises:
        Refused: one does not.
    """
    own, takes = learner.how
    for said in claims:
        claim = replace(said, tenant=learner.known.name(said.tenant))
        if claim.share == "none":
            raise Refused(
                f"{claim}, who lets nobody be trained on them",
                hint="leave it out; only its owner can add a version that is shared",
            )
        if learner.is_of(claim.tenant):
            continue
        if claim.share == "own":
            whose = f"`{learner.tenant}`'s" if learner.tenant else "no tenant's"
            raise Refused(
                f"{claim}, which only adapters of that tenant may be trained on; "
                f"`{learner.name}` is {whose}",
                hint=f"{own.format(claim.tenant)} if it is, or leave them out",
            )
        if not learner.known.among(claim.tenant, learner.takes):
            raise Refused(
                f"{claim}, who shares them, and `{learner.name}` does not say that it takes them",
                hint=takes.format(claim.tenant),
            )


def recorded(claims: Iterable[Claim]) -> dict[str, str]:
    """Tenant → the strictest share, as a release's record keeps it (`RECORDED`)."""
    found: dict[str, Share] = {}
    for claim in claims:
        found[claim.tenant] = strictest(claim.share, found.get(claim.tenant, claim.share))
    return {tenant: found[tenant] for tenant in sorted(found)}


def strictest(*shares: Share) -> Share:
    """The one that fewest may learn by."""
    return min(shares, key=SHARES.index)


def datasets_named(database: Database, tenant: str) -> list[str]:
    """The datasets, as `NAME@VERSION`, that are said to be of a tenant of this name."""
    schema.migrate(database)
    table = schema.datasets
    query = sa.select(table).where(table.c.record.contains(json.dumps(tenant), autoescape=True))
    with database.read() as connection:
        rows = connection.execute(query.order_by(table.c.name, table.c.version)).all()
    return [
        f"{row.name}@{row.version}"
        for row in rows
        if json.loads(row.record).get("tenant") == tenant
    ]


def of_dataset(datasets: Datasets, dataset: Dataset) -> Iterator[Claim]:
    """Whose rows a dataset has: what it says, and what those that it was made of say."""
    waiting, seen = [dataset], {dataset.digest}
    while waiting:
        record = (found := waiting.pop()).record
        if record.tenant is not None:
            yield Claim(record.tenant, record.share, found.ref)
        for parent in record.parents:
            if parent.relation not in _ROWS_OF or parent.name in seen:
                continue
            seen.add(parent.name)
            if (before := datasets.find(parent.name)) is not None:
                waiting.append(before)


def of_release(registry: Registry, digest: str, ref: str) -> Iterator[Claim]:
    """Whose rows a release has learnt: from datasets, and through every release that its weights,
    or answers of, went into it, those that are deleted included.

    Behind a server the datasets cannot be asked; what the records say (`RECORDED`) counts.
    """
    from adapterworks.registry.datasets.store import Datasets

    datasets = Datasets(registry) if registry.has_index else None
    waiting, seen = [(digest, ref)], {digest}
    while waiting:
        of, name = waiting.pop()
        dataset = None if datasets is None else datasets.find(of)
        if datasets is not None and dataset is not None:
            yield from of_dataset(datasets, dataset)
            continue
        yield from _said(registry, of, name)
        for parent in registry.origins.parents(of):
            before = parent.digest or _found(registry, parent.name)
            if parent.relation != _JUDGED and before not in seen:
                seen.add(before)
                waiting.append((before, parent.ref or before))


def _found(registry: Registry, ref: str) -> str:
    """The digest of what an old record names by name alone; the name, where it is not here."""
    try:
        return registry.resolve(ref).digest
    except (NotFound, InvalidInput):
        return ref


def _said(registry: Registry, digest: str, ref: str) -> Iterator[Claim]:
    """What a release's own record says of whose rows it learnt."""
    try:
        release = registry.release(digest)
    except (NotFound, IntegrityError, InvalidInput):  # deleted, elsewhere, or a name of version 1
        release = None
    name = ref.partition("@")[0] if release is None else release.name
    if (tenant := tenant_in(name)) is not None:
        yield Claim(tenant, "own", ref, learnt=True)
    if release is None:
        return
    told = release.details.get(RECORDED)
    for owner, share in (told if isinstance(told, Mapping) else {}).items():
        for known in SHARES:
            if share == known:
                yield Claim(owner, known, ref, learnt=True)
    if (owner := declared_tenant(release)) is not None:
        yield Claim(owner, "own", ref, learnt=True)


def declared_tenant(release: Release) -> str | None:
    """Whose a release's rows are by its manifest alone: of a tenant's adapter, those of files.

    Rows of datasets say themselves whose they are, and may be shared with more.
    """
    tenant = release.declared("adapter").get("tenant")
    data = release.declared("data")
    tables = [*(data.get("mix") or ()), data.get("replay") or {}]
    sources = [data.get("train"), data.get("validation"), *(_source(table) for table in tables)]
    of_files = any(isinstance(source, str) and _is_file(source) for source in sources)
    return tenant if isinstance(tenant, str) and of_files else None


def _source(table: object) -> object:
    return table.get("source") if isinstance(table, Mapping) else None


def _is_file(source: str) -> bool:
    try:
        return isinstance(parse_source(source), FileSource)
    except InvalidInput:  # a stranger's, or of another version
        return False
