"""`adapters merge`: several adapters of one base become one release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.builders.merging.rules import RULES
from adapterworks.builders.merging.rules.recipe import DENSITY, SEED
from adapterworks.cli import printing, values
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.values import ALIAS, NAME
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.merging.merge import Merged


@click.command()
@click.argument("refs", metavar="REF REF…", nargs=-1, shell_complete=complete_ref)
@click.option("--name", "--as", required=True, type=NAME, help="Name of the resulting adapter.")
@click.option("--weights", help="One weight per REF, comma-separated (default: equal shares of 1).")
@click.option(
    "--rule",
    type=click.Choice(list(RULES)),
    help=f"PEFT's combination type: {', '.join(RULES)} (default cat).",
    metavar="RULE",
)
@click.option("--method", type=click.Choice(list(RULES)), hidden=True)  # as it was called before
@click.option(
    "--density", type=float, help=f"Share of the values that pruning keeps (default {DENSITY})."
)
@click.option("--seed", type=values.SEED, help=f"Seed for what DARE drops (default {SEED}).")
@click.option(
    "--rank",
    type=click.IntRange(1, 2**16),
    help="Rank for an svd rule (default: the largest of the REFs).",
)
@click.option("--alias", type=ALIAS, help="Point this alias to it.")
@click.option("--tenant", help="The tenant that owns the result (default: the operator).")
@click.option(
    "--takes",
    multiple=True,
    metavar="TENANT",
    help="Tenant whose shared rows may be in it; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    refs: tuple[str, ...],
    name: str,
    weights: str | None,
    rule: str | None,
    method: str | None,
    density: float | None,
    seed: int | None,
    rank: int | None,
    alias: str | None,
    tenant: str | None,
    takes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Merge adapters of one base into one.

    The adapters must be served as LoRA on the same base. `cat` is the weighted sum of their weight
    deltas, exactly, at the sum of their ranks; `svd` cuts that sum at a rank; `linear` averages the
    factors, which is cheap and rough. TIES, DARE and magnitude pruning work on the factors, or,
    with `_svd`, on the deltas. The result has a fingerprint, so the gateway proves it, but it is
    not evaluated: use `adapters eval`. What was learnt from a tenant's rows stays with that tenant:
    the result must belong to it (--tenant), or use only rows that it shares (--takes).

    \b
    Example:
      adapters merge medical@3 enterprise-kb --name clinic-kb
      adapters merge medical code --name both --weights 0.7,0.3 --rule ties_svd --rank 32
    """
    from adapterworks.builders.merging.merge import run_merge
    from adapterworks.builders.merging.rules.recipe import Recipe

    merged = run_merge(
        refs,
        name=name,
        registry=app.registry,
        bases=app.bases,
        scratch=app.settings.home / "tmp",
        who=app.settings.who,
        recipe=Recipe(rule or method or "cat", density, seed, rank),
        weights=None if weights is None else _numbers(weights),
        alias=alias,
        tenant=tenant,
        tenants=takes,
        progress=printing.note,
    )
    _print(merged, as_json)


def _numbers(text: str) -> list[float]:
    """`0.7,0.3` as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInput(
            f"`{text}` are not weights", hint="write numbers with commas: `--weights 0.7,0.3`"
        ) from error


def _print(merged: Merged, as_json: bool) -> None:
    published, result = merged.published, merged.report["merge"]
    if as_json:
        printing.echo_json(
            {
                "name": published.name,
                "version": published.version,
                "digest": published.digest,
                "created": published.created,
                "servable": merged.servable,
                "merge": {key: value for key, value in result.items() if key != "modules"},
            }
        )
        return
    if not published.created:
        click.echo(f"{published} is this merge already")
        return
    terms = " + ".join(f"{parent.weight:g} × {parent.ref}" for parent in merged.parents)
    click.echo(f"merged {published} = {terms} by {result['method']}")
    error = "" if result["error"] is None else f"error {result['error']:.2g}, "
    click.echo(
        f"LoRA of rank {merged.servable.rank}; {error}{result['from_sum']:.2g} from the weighted "
        "sum of the deltas (relative)"
    )
