"""`adapters registry`: the index backed up, restored, made again from the store; settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks import __version__
from adapterworks.app import App
from adapterworks.cli import printing, registry_http
from adapterworks.cli.confirming import confirm
from adapterworks.cli.values import WrittenFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapterworks.registry.lifecycle.rebuild import Unlisted


@click.group()
def command() -> None:
    """Back up, restore and rebuild the index; serve it to others.

    \b
    Example:
      adapters registry backup index-2026-11-29.db
      adapters registry restore index-2026-11-29.db
      adapters registry rebuild-index
      adapters registry serve --port 8090
    """


for _command in (registry_http.serve, registry_http.token, registry_http.audit):
    command.add_command(_command)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command()
@click.argument("file", type=WrittenFile())
@_as_json
@click.pass_obj
def backup(app: App, file: Path, as_json: bool) -> None:
    """Copy the index to FILE while it is in use.

    The index has names, versions, aliases, history, signatures, tenants and usage; copy the store
    (`ADAPTERS_BLOBS`, with its adapterworks.json) afterwards, so that it has everything the index
    lists. A
    PostgreSQL index is backed up with pg_dump.

    \b
    Example:
      adapters registry backup index-2026-11-29.db
    """
    from adapterworks.registry.index.backup import backup as copy

    app.require_index_here()
    copy(app.settings.database, file)
    size = file.stat().st_size
    if as_json:
        printing.echo_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"wrote {file} ({printing.size(size)})")


@command.command()
@_as_json
@click.pass_obj
def upgrade(app: App, as_json: bool) -> None:
    """Create or upgrade all tables of the index.

    Every command does this for the tables that it reads, if it is allowed to. In a PostgreSQL index
    with roles only the owner is: run this once as the owner, and after each upgrade of
    adapterworks.

    \b
    Example:
      ADAPTERS_DATABASE=postgresql://owner@db/adapters adapters registry upgrade
    """
    from adapterworks.gateway.storage import migrations as gateway
    from adapterworks.registry.datasets import schema as datasets
    from adapterworks.registry.jobs import schema as jobs

    app.require_index_here()
    database = app.registry.database  # opened: its own tables are there
    for schema in (jobs, datasets, gateway):
        schema.migrate(database)
    if as_json:
        printing.echo_json({"version": __version__})
    else:
        app.note("all tables are of this version")


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_as_json
@click.pass_obj
def restore(app: App, file: Path, as_json: bool) -> None:
    """Restore a lost index from a backup.

    Stop gateways first. An index that lists releases is not overwritten. Reports what is in the
    store but not in the backup.

    \b
    Example:
      adapters registry restore index-2026-11-29.db
    """
    from adapterworks.crash import without_passwords
    from adapterworks.registry.index.backup import restore as put_back

    app.require_index_here()
    put_back(app.settings.database, file)
    app.registry.require_own_store()
    into = without_passwords(app.settings.database)
    if not as_json:
        click.echo(f"restored the index from {file} into {into}")
    later = app.registry.upkeep.unlisted()
    others = app.registry.upkeep.unlisted_deposits()
    if as_json:
        printing.echo_json(
            {"file": str(file), "into": into, "unlisted": len(later), "deposits": len(others)}
        )
        return
    if later or others:
        printing.note(
            f"the store has {len(later)} releases and {len(others)} datasets, seals and files that "
            "it does not list: adapters registry rebuild-index"
        )


@command.command("rebuild-index")
@click.option("--take", multiple=True, metavar="DIGEST", help="Also add this copy of a record.")
@click.option("--dry-run", is_flag=True, help="Only print what would be added.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes or --dry-run.")
@click.pass_obj
def rebuild_index(app: App, take: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Add releases of the store that are missing from the index.

    For an index that was lost, or restored from an old copy. The store has names, records and
    files; versions are numbered by creation time, after those already in the index. Datasets and
    sealed test sets are added again, too. Aliases, history, later tags, signatures, tombstones,
    tenants and their files exist only in backups of the index. A record that is among the files of
    another release is added only with --take.

    \b
    Example:
      adapters registry rebuild-index --dry-run
      adapters registry rebuild-index
    """
    from adapterworks.registry.datasets import relist as relisting

    found = app.registry.upkeep.unlisted(take=take)
    whole = sum(item.state == "whole" for item in found)
    counts = relisting.count(relisting.unlisted(app.registry))
    others = counts["datasets"] + counts["seals"]
    ends = dry_run or not (whole or others)
    if not as_json:
        _show_unlisted(found, counts, whole=whole if ends else None)
    if not ends or (as_json and not dry_run):  # JSON: whether there is something to list or not
        confirm(f"List {whole + others}?", yes=yes, what="listed", as_json=as_json)
    releases = [] if ends else app.registry.upkeep.rebuild_index(take=take, who=app.settings.who)
    deposits = [] if ends else relisting.relist(app.registry, who=app.settings.who)
    if as_json:
        printing.echo_json(
            {
                "unlisted": [dict(zip(_UNLISTED, _row(item), strict=True)) for item in found],
                "deposits": counts,
                "listed": [*map(str, releases), *map(str, deposits)],
            }
        )
        return
    for resolved in releases:
        click.echo(f"listed {resolved} ({resolved.digest})")
    for listed in deposits:
        click.echo(f"listed {printing.harmless(listed)}")


def _show_unlisted(found: list[Unlisted], counts: Mapping[str, int], *, whole: int | None) -> None:
    if found:
        printing.echo_table(_UNLISTED, map(_row, found))
    if whole is not None:
        click.echo(f"{whole} of {len(found)} can be listed")
    if any(counts.values()):
        click.echo(
            f"{counts['datasets']} datasets and {counts['seals']} seals can be listed; "
            f"{counts['left']} more, files of tenants and rows that are incomplete, cannot: gc "
            "keeps them until `--unlisted`"
        )


@command.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--why", default="", help="Reason, for the log.")
@_as_json
@click.pass_obj
def settings(app: App, file: Path | None, why: str, as_json: bool) -> None:
    """Show or replace the registry's settings.

    FILE is TOML. Its [aliases.NAME] tables are protected aliases: a version gets one by `adapters
    promote` only, and only if its gates passed in a build here (`gates = true`), an engine
    reproduced its fingerprint (`proof = true`), and so many of `keys` signed it (`signatures = 2`,
    `keys = ["release.pub", "review.pub"]`), and so many others approved the move (`approvals = 1`,
    `adapters promote --request`). `names = ["icd-*"]` says whose alias. Settings are kept
    in the index and apply to everybody who uses it; an empty file removes them. Rollbacks are
    always allowed.

    \b
    Example:
      adapters registry settings
      adapters registry settings registry.toml --why "four eyes for production"
    """
    if file is not None:
        from adapterworks.registry.lifecycle.protection import read_settings

        app.registry.protection.keep(read_settings(file), who=app.settings.who, why=why)
    found = app.registry.protection.settings()
    if as_json:
        printing.echo_json(found)
        return
    rows = [
        (
            alias,
            " ".join(rule.names),
            *map(_yes, (rule.gates, rule.proof)),
            f"{rule.signatures} of {len(rule.keys)} keys" if rule.signatures else "no",
            str(rule.approvals or "no"),
        )
        for alias, rule in sorted(found.aliases.items())
    ]
    printing.echo_table(
        ("protected alias", "of", "gates", "proof", "signatures", "approvals"), rows
    )


_UNLISTED = ("name", "made", "release", "state", "not in the store")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _row(item: Unlisted) -> tuple[str, ...]:
    made = printing.when(item.release.created)
    return (item.release.name, made, item.release.digest, item.state, " ".join(item.absent))
