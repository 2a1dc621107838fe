"""`adapters promote`: move an alias by compare-and-set, or try a version beside the holder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.types import AliasMove, Unset


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.argument("alias")
@click.option(
    "--expect",
    help="Move only if this version (or `none`) holds the alias now and no other is its canary.",
)
@click.option(
    "--percent",
    "--weight",
    "weight",
    type=click.IntRange(1, 100),
    default=100,
    show_default=True,
    help="Percent of requests for the version; below 100 the present holder keeps the rest.",
)
@click.option("--why", default="", help="Reason, for the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App, ref: str, alias: str, expect: str | None, weight: int, why: str, as_json: bool
) -> None:
    """Move an alias to a version.

    \b
    Example:
      adapters promote medical@3 prod --expect medical@2 --why "passes the ICD gate"
      adapters promote medical@4 prod --percent 10
      adapters promote medical:candidate prod
    """
    registry = app.registry
    resolved = registry.resolve(app.ref(ref))
    move = registry.promote(
        resolved.name,
        resolved.version,
        alias,
        who=app.settings.who,
        why=why,
        expect=expected(registry, resolved.name, expect),
        weight=weight,
    )
    deprecated = registry.deprecation(resolved.name, resolved.version)
    if deprecated is not None:
        printing.note(f"note: {resolved} is deprecated: {deprecated.why}")
    if as_json:
        printing.echo_json(move)
    else:
        click.echo(describe(move))


def describe(move: AliasMove) -> str:
    """A move in one line."""
    target = f"{move.name}:{move.alias} → {move.name}@{move.version}"
    if move.canary is not None and move.weight is not None:
        return f"{target} ({100 - move.weight} %), {move.name}@{move.canary} ({move.weight} %)"
    if move.previous not in (None, move.version):
        return f"{target} (was {move.name}@{move.previous})"
    return target


def expected(registry: Registry, name: str, text: str | None) -> int | Unset | None:
    """The version that `--expect` names: `medical@3`, `3`, an alias, or `none`."""
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.manifests.refs import parse_ref
    from adapterworks.registry.releases.types import UNSET

    if text is None:
        return UNSET
    if text == "none":
        return None
    if text.isdigit():
        return int(text)
    ref = parse_ref(text)
    if ref.name != name:
        raise InvalidInput(f"`--expect {text}` is not a version of `{name}`")
    return ref.version if ref.version is not None else registry.resolve(ref).version
