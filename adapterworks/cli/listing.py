"""`adapters list`: names, or the versions of one name, in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_name
from adapterworks.cli.values import COUNT
from adapterworks.manifests.digests import short_digest
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.registry.releases.types import NameRow, VersionRow, Weighted


@click.command()
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", help="Next page: the value after `more:`.")
@click.option("--before", type=COUNT, hidden=True)
@click.option("--deleted", is_flag=True, help="With NAME: also list deleted versions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    name: str | None,
    limit: int,
    after: str | None,
    before: int | None,
    deleted: bool,
    as_json: bool,
) -> None:
    """List adapters, versions and aliases.

    \b
    Example:
      adapters list
      adapters list medical --limit 10 --json
    """
    if name is None and (before is not None or deleted):
        raise InvalidInput("`--before` and `--deleted` are of a NAME", hint="adapters list NAME")
    if name is None:
        names = app.registry.names(limit=limit, after=after)
        if as_json:
            printing.echo_json(names)
        elif names or after:
            _print_names(names)
        else:
            app.note(f"no adapters in {app.settings.home} yet: adapters build medical")
        if len(names) == limit:
            printing.echo_more(names[-1].name)
        return
    app.registry.require_name(name)
    before = version_after(after) if after is not None else before
    versions = app.registry.versions(name, limit=limit, before=before, deleted=deleted)
    if as_json:
        printing.echo_json(versions)
    else:
        print_versions(versions)
    if len(versions) == limit and versions[-1].version > 1:
        printing.echo_more(versions[-1].version)


def version_after(text: str) -> int:
    """The number that `--after` names: `3` or `medical@3`."""
    number = text.rpartition("@")[2]
    if not number.isdecimal() or not number.isascii() or len(number) > 9:
        raise InvalidInput(f"`--after {text}` is no version", hint="write what `more:` said")
    return int(number)


def print_versions(versions: list[VersionRow]) -> None:
    """The table of versions that `list` and `search` print."""
    printing.echo_table(
        ("version", "aliases", "method", "base", "metrics", "size", "published", "digest"),
        (
            (
                f"{row.name}@{row.version}",
                "deleted" if row.deleted else " ".join(row.aliases),
                row.method,
                row.base_model,
                " ".join(f"{key}={value:.4g}" for key, value in list(row.metrics.items())[:3]),
                printing.size(row.size),
                printing.when(row.published),
                short_digest(row.digest),
            )
            for row in versions
        ),
    )


def _print_names(names: list[NameRow]) -> None:
    printing.echo_table(
        ("name", "latest", "versions", "aliases", "updated", "description"),
        (
            (
                row.name,
                row.latest or "–",
                row.versions,
                " ".join(f"{alias}={_held(held)}" for alias, held in row.aliases.items()),
                printing.when(row.updated),
                row.description,
            )
            for row in names
        ),
    )


def _held(holders: tuple[Weighted, ...]) -> str:
    """`2`, or `2+3(10%)` with a canary."""
    holder, *canary = holders
    return f"{holder.version}" + "".join(f"+{held.version}({held.weight}%)" for held in canary)
