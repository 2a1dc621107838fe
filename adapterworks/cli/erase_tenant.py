"""`adapters erase tenant:NAME`: what was kept of a tenant goes for good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.registry import agree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapterworks.registry.datasets.store import Dataset
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.types import Resolved

PREFIX = "tenant:"
_PAGE = 200


def erase_tenant(app: App, what: str, *, reason: str, yes: bool, as_json: bool) -> None:
    """Erase captured answers, feedback, files and batches' answers of a tenant, by name or id.

    Raises:
        NotFound: there is no such tenant, nor anything of an id.
    """
    from adapterworks.gateway.storage.migrations import migrate
    from adapterworks.gateway.tenants import audit
    from adapterworks.gateway.tenants.admin import tenant_known
    from adapterworks.registry.exchanges import erasing
    from adapterworks.registry.jobs import erasing as of_jobs
    from adapterworks.registry.jobs import schema

    migrate(app.registry.database)
    schema.migrate(app.registry.database)
    tenant, name = tenant_known(app.registry.database, what.removeprefix(PREFIX))
    found = erasing.holding(app.exchanges, tenant)
    with app.registry.database.read() as connection:
        given = of_jobs.holding(connection, tenant)
    datasets, releases = learnt(app.registry, tenant, name)
    if not as_json:
        click.echo(
            f"tenant {printing.harmless(name)} ({tenant}): {found.exchanges} captured answers, "
            f"{found.feedback} pieces of feedback, {found.files} files"
        )
        click.echo(
            f"of its jobs: {given.files} uploaded files and results, {given.uploads} uploads, "
            f"{given.lines} answers of batches that have not ended"
        )
        for dataset in datasets:
            click.echo(f"rows of it, which stay: {dataset.ref}")
        for release in releases:
            click.echo(f"learnt from its rows, directly or not: {release}  {release.digest}")
    agree("Erase all of it, and its key, for good?", yes=yes, what="erased")
    done = erasing.erase(app.exchanges, tenant, time.time())
    given = of_jobs.erase(app.registry.database, tenant, time.time())
    with app.registry.database.write() as connection:
        audit.record(
            connection,
            who=app.settings.who,
            action="tenant.erase",
            tenant=name,
            details={
                "id": tenant,
                "why": reason,
                "exchanges": done.exchanges,
                "feedback": done.feedback,
                "uploaded": given.files,
                "uploads": given.uploads,
                "lines": given.lines,
            },
        )
    settled = app.registry.database.settle()
    if as_json:
        printing.echo_json(
            {
                "tenant": tenant,
                "exchanges": done.exchanges,
                "feedback": done.feedback,
                "files": done.files,
                "uploaded": given.files,
                "uploads": given.uploads,
                "lines": given.lines,
                "running": given.running,
                "settled": settled,
                "datasets": [dataset.ref for dataset in datasets],
                "releases": [{"ref": str(r), "digest": r.digest} for r in releases],
            }
        )
        return
    click.echo(
        f"erased {done.exchanges} captured answers and {done.feedback} pieces of feedback; the key "
        "that opened them is destroyed"
    )
    click.echo(f"erased {given.files} files, {given.uploads} uploads, {given.lines} answers")
    if given.running:
        printing.note(
            f"{given.running} of its jobs ran, and were asked to end: erase it again when "
            "`adapters jobs list --state running` has none of it"
        )
    if not settled:
        printing.note("another program reads the index now: erase it again to empty its log")
    if given.files or given.uploads:
        printing.note("the files' bytes go with `adapters gc --grace 0`, on every machine")
    if datasets or releases:
        printing.note(
            "the datasets and releases above stay: `adapters erase dataset:NAME@3 train:17` takes "
            "rows out; build again, then `adapters delete REF --with-aliases --purge`"
        )
    printing.note(
        "not reached from here: copies of the folder of keys, if somebody made any; answers are "
        "captured again until `adapters tenant set NAME --capture none`"
    )


def learnt(registry: Registry, tenant: str, name: str) -> tuple[list[Dataset], list[Resolved]]:
    """The datasets with a tenant's rows, and the live releases that come from its rows.

    Those are what its own jobs have trained, and what was built from its datasets; a release that
    was continued from such a one has learnt the rows too.
    """
    from adapterworks.registry.datasets.owners import of_dataset
    from adapterworks.registry.datasets.store import Datasets

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
    return datasets, list(found.values())


def _trained(registry: Registry, tenant: str) -> Iterator[Resolved]:
    """The live releases that a tenant's own jobs have made."""
    from adapterworks.gateway.tenants.tenant import prefix_of

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
