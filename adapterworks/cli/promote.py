"""`adapters promote`: move an alias by compare-and-set, or try a version beside the holder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import four_eyes, printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import SEQUENCE

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.types import AliasMove, Unset


@click.command()
@click.argument("ref", required=False, shell_complete=complete_ref)
@click.argument("alias", required=False)
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
    help="Percent of requests for the version; the current holder keeps the rest.",
)
@click.option("--to", help="The alias (same as ALIAS).")
@click.option("--request", is_flag=True, help="Request the move; somebody else has to approve it.")
@click.option("--requests", is_flag=True, help="List requested moves.")
@click.option(
    "--approve", type=SEQUENCE, metavar="ID", help="Approve a move that somebody else requested."
)
@click.option("--deny", type=SEQUENCE, metavar="ID", help="Deny a requested move.")
@click.option("--why", default="", help="Reason, for the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str | None,
    alias: str | None,
    to: str | None,
    expect: str | None,
    weight: int,
    request: bool,
    requests: bool,
    approve: int | None,
    deny: int | None,
    why: str,
    as_json: bool,
) -> None:
    """Move an alias to a version.

    With --request the move is only requested, and made when somebody else approves it: with another
    person's registry token, or under another `ADAPTERS_USER` where the database is used directly.
    An alias whose settings have `approvals` can only be moved like this.

    \b
    Example:
      adapters promote medical@3 prod --expect medical@2 --why "passes the ICD gate"
      adapters promote medical@4 prod --percent 10
      adapters promote medical:candidate prod
      adapters promote medical@5 --to prod --request --why "better on chapter J"
      adapters promote --approve 118
    """
    from adapterworks.manifests.errors import InvalidInput

    if None not in (alias, to):
        raise InvalidInput(
            f"is it `{alias}` or `{to}` that is to move?", hint="leave ALIAS or `--to` out"
        )
    registry, alias = app.registry, alias or to
    if requests or approve is not None or deny is not None:
        if ref is not None or request or requests + (approve is not None) + (deny is not None) > 1:
            raise InvalidInput("one of `--requests`, `--approve` and `--deny`, and no REF")
        refuse_unless(False, ("alias", "to", "expect", "weight"), "a move that is asked for anew")
        refuse_unless(not requests, ("why",), "a decision: --approve, --deny")
        four_eyes.decide(app, approve, deny, why, as_json=as_json)
        return
    if ref is None or alias is None:
        raise InvalidInput("which version, to which alias?", hint="adapters promote REF ALIAS")
    resolved = registry.resolve(app.ref(ref))
    if request and not why.strip():
        raise InvalidInput("`--request` needs `--why`", hint="whoever approves it will ask")
    of = (resolved.name, resolved.version, alias)
    who, expecting = app.settings.who, expected(registry, resolved.name, expect)
    if request:
        asked = registry.approvals.request(*of, who=who, why=why, expect=expecting, weight=weight)
        four_eyes.show([asked], as_json=as_json)
        return
    move = registry.promote(*of, who=who, why=why, expect=expecting, weight=weight)
    deprecated = registry.log.deprecation(resolved.name, resolved.version)
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
    if text.isdecimal() and text.isascii():
        return int(text[:10])  # no version has so many digits
    ref = parse_ref(text)
    if ref.name != name:
        raise InvalidInput(f"`--expect {text}` is not a version of `{name}`")
    return ref.version if ref.version is not None else registry.resolve(ref).version
