"""`adapters erase tenant:NAME`: all that was captured of a tenant goes for good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.registry import agree

if TYPE_CHECKING:
    from adapterworks.registry.datasets.store import Dataset
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.types import Resolved

PREFIX = "tenant:"


def erase_tenant(app: App, what: str, *, reason: str, yes: bool, as_json: bool) -> None:
    """Erase the captured answers and the feedback of a tenant, by its name or id.

    Raises:
        NotFound: there is no such tenant, nor anything of an id.
    """
    from adapterworks.gateway.storage.migrations import migrate
    from adapterworks.gateway.tenants import audit
    from adapterworks.gateway.tenants.admin import tenant_id
    from adapterworks.registry.exchanges import erasing

    migrate(app.registry.database)
    name = what.removeprefix(PREFIX)
    tenant = tenant_id(app.registry.database, name)
    found = erasing.holding(app.exchanges, tenant)
    datasets, releases = learnt(app.registry, tenant, name)
    if not as_json:
        click.echo(
            f"tenant {printing.harmless(name)} ({tenant}): {found.exchanges} captured answers, "
            f"{found.feedback} pieces of feedback, {found.files} files"
        )
        for dataset in datasets:
            click.echo(f"rows of it, which stay: {dataset.ref}")
        for release in releases:
            click.echo(f"learnt from them, directly or not: {release}  {release.digest}")
    agree("Erase all of it, and its key, for good?", yes=yes, what="erased")
    done = erasing.erase(app.exchanges, tenant, time.time())
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
            },
        )
    if as_json:
        printing.echo_json(
            {
                "tenant": tenant,
                "exchanges": done.exchanges,
                "feedback": done.feedback,
                "files": done.files,
                "datasets": [dataset.ref for dataset in datasets],
                "releases": [{"ref": str(r), "digest": r.digest} for r in releases],
            }
        )
        return
    click.echo(
        f"erased {done.exchanges} captured answers and {done.feedback} pieces of feedback; the key "
        "that opened them is destroyed"
    )
    if datasets:
        printing.note(
            "the datasets and releases above stay: `adapters erase dataset:NAME@3 train:17` takes "
            "rows out; build again, then `adapters delete REF --with-aliases --purge`"
        )
    printing.note(
        "not reached from here: copies of the folder of keys, if somebody made any; answers are "
        "captured again until `adapters tenant set NAME --capture none`"
    )


def learnt(registry: Registry, tenant: str, name: str) -> tuple[list[Dataset], list[Resolved]]:
    """The datasets with a tenant's rows, and the live releases that come from them.

    A release that was continued from such a one has learnt the rows too.
    """
    from adapterworks.registry.datasets.store import Datasets

    datasets = [d for d in Datasets(registry).list() if d.record.tenant in (tenant, name)]
    waiting = [dataset.digest for dataset in datasets]
    found: dict[str, Resolved] = {}
    while waiting:
        for release in registry.origins.releases_from("parent", waiting.pop()):
            if release.digest not in found:
                found[release.digest] = release
                waiting.append(release.digest)
    return datasets, list(found.values())
