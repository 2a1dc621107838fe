"""`adapters erase tenant:NAME`: what was kept of a tenant goes for good."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.confirming import confirm

if TYPE_CHECKING:
    from adapterworks.gateway.tenants.erasing import Held, TenantErasure
    from adapterworks.gateway.tenants.over_http import TenantErasureOverHttp

PREFIX = "tenant:"


def erase_tenant(app: App, what: str, *, reason: str, yes: bool, as_json: bool) -> None:
    """Erase captured answers, feedback, files and batches' answers of a tenant, by name or id.

    Raises:
        NotFound: there is no such tenant, nor anything of an id.
    """
    name, erasure = what.removeprefix(PREFIX), _erasure(app)
    if not as_json:
        _show(name, erasure.look(name))
    confirm("Erase all of it, and its key, for good?", yes=yes, what="erased", as_json=as_json)
    done = erasure.erase(name, who=app.settings.who, why=reason)
    if as_json:
        releases = [{"ref": str(r), "digest": r.digest} for r in done.releases]
        printing.echo_json({**asdict(done), "releases": releases})
        return
    of_key = "the key that opened them is destroyed" if done.key else "no key of it was there"
    click.echo(
        f"erased {done.exchanges} captured answers and {done.feedback} pieces of feedback; {of_key}"
    )
    click.echo(f"erased {done.uploaded} files, {done.uploads} uploads, {done.lines} answers")
    for review in done.reviews:
        click.echo(f"erased review `{review}`, of what its jobs have trained")
    if done.exchanges and not done.key:
        printing.note(
            "the key that the captured answers were sealed with is not in the folder of keys that "
            "was looked in, and opens their files and every copy of them still: erase it again on "
            "each machine of a gateway, with the gateway's `ADAPTERS_HOME` and `ADAPTERS_KEYS_DIR`"
        )
    if done.running:
        printing.note(
            f"{done.running} of its jobs ran, and were asked to end: erase it again when "
            "`adapters jobs list --state running` has none of it"
        )
    if not done.settled:
        printing.note("another program reads the index now: erase it again to empty its log")
    if done.uploaded or done.uploads:
        printing.note("the files' bytes go with `adapters gc --grace 0`, on every machine")
    if done.datasets or done.releases:
        printing.note(
            "the datasets and releases above stay: `adapters erase dataset:NAME@3 train:17` takes "
            "rows out; build again, then `adapters delete REF --with-aliases --purge`"
        )
    printing.note(
        "not reached from here: copies of the folder of keys, if somebody made any; answers are "
        "captured again until `adapters tenant set NAME --capture none`"
    )


def _show(name: str, found: Held) -> None:
    click.echo(
        f"tenant {printing.harmless(name)} ({found.tenant}): {found.exchanges} captured answers, "
        f"{found.feedback} pieces of feedback, {found.files} files"
    )
    click.echo(
        f"of its jobs: {found.uploaded} uploaded files and results, {found.uploads} uploads, "
        f"{found.lines} answers of batches that have not ended"
    )
    for review in found.reviews:
        click.echo(f"review of what its jobs have trained: {review}")
    for dataset in found.datasets:
        click.echo(f"rows of it, which stay: {dataset}")
    for release in found.releases:
        click.echo(f"learnt from its rows, directly or not: {release}  {release.digest}")


def _erasure(app: App) -> TenantErasure | TenantErasureOverHttp:
    """What erases tenants: here, or on the registry's server that is used."""
    from adapterworks.gateway.tenants.erasing import TenantErasure
    from adapterworks.gateway.tenants.over_http import TenantErasureOverHttp
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        return TenantErasureOverHttp(registry.link)
    return TenantErasure(registry, app.exchanges)
