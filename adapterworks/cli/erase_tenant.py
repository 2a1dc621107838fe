"""`adapters erase tenant:NAME`: all that was captured of a tenant goes for good."""

from __future__ import annotations

import time

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.registry import agree

PREFIX = "tenant:"


def erase_tenant(app: App, what: str, *, reason: str, yes: bool, as_json: bool) -> None:
    """Erase the captured answers and the feedback of a tenant, by its name or id.

    Raises:
        NotFound: there is no such tenant, nor anything of an id.
    """
    from adapterworks.gateway.storage.schema import migrate
    from adapterworks.gateway.tenants import audit
    from adapterworks.gateway.tenants.admin import tenant_id
    from adapterworks.registry.exchanges import erasing

    migrate(app.registry.database)
    name = what.removeprefix(PREFIX)
    tenant = tenant_id(app.registry.database, name)
    found = erasing.holding(app.exchanges, tenant)
    if not as_json:
        click.echo(
            f"tenant {printing.harmless(name)} ({tenant}): {found.exchanges} captured answers, "
            f"{found.feedback} pieces of feedback, {found.files} files"
        )
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
            }
        )
        return
    click.echo(
        f"erased {done.exchanges} captured answers and {done.feedback} pieces of feedback; the key "
        "that opened them is destroyed"
    )
    printing.note(
        "not reached from here: copies of the folder of keys, if somebody made any; what was "
        "captured is off only when `adapters tenant set … --capture none` says so"
    )
