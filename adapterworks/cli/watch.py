"""`adapters watch`: an alias looked at again and again; its bounds hold whenever one looks."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Literal

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.amounts import Duration
from adapterworks.cli.completion import complete_ref
from adapterworks.manifests.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from adapterworks.builders.evaluation.sequences import Decision
    from adapterworks.builders.watching.alias import Pair

Origin = Literal["rows", "feedback"]
_SAID = {
    "drop": "worse than",
    "steady": "no worse than",
    "undecided": "not yet told apart from",
}


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option(
    "--against",
    help="The release to compare with, if not the one that a rollback would bring back.",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["rows", "feedback"]),
    default="rows",
    show_default=True,
    help="Both answer the same rows, or: what people said of answers.",
)
@click.option("--rows", "source", metavar="SOURCE", help="Rows, if not the release's test rows.")
@click.option("--metric", help="What is compared: a mean of scores of rows from 0 to 1.")
@click.option("--tenant", help="Of feedback: of this tenant's answers only, by its name.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="1 less the probability of ever being wrong, however often one looks.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.02,
    show_default=True,
    help="The largest drop of the mean that is let pass.",
)
@click.option("--rollback", is_flag=True, help="Move the alias back where it got worse.")
@click.option("--once", is_flag=True, help="Look once; so it is without --every.")
@click.option(
    "--every", type=Duration(), help="Look again after so long (30m, 1h), until it is worse."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    against: str | None,
    origin: Origin,
    source: str | None,
    metric: str | None,
    tenant: str | None,
    confidence: float,
    max_drop: float,
    rollback: bool,
    once: bool,
    every: int | None,
    as_json: bool,
) -> None:
    """Watch an alias: is its release worse than the one before it?

    Both releases answer the same rows, a few at a time in a shuffled order, until a confidence
    sequence says that the drop is larger than --max-drop, or that it is not. Its bounds hold
    however often one looks, so to stop there is no fault. What was asked is kept: a watch that was
    ended goes on where it was. With --from feedback, what people said is compared instead.

    Exit code 6 if it is worse; with --rollback the alias is moved back, with the reason in its log.
    A running canary is watched against the holder.

    \b
    Example:
      adapters watch medical:prod
      adapters watch medical:prod --against medical@3 --rows fresh.jsonl --metric exact_match
      adapters watch medical:prod --from feedback --max-drop 0.05 --every 1h --rollback
    """
    if once and every is not None:
        raise InvalidInput("`--once` and `--every` exclude each other", hint="leave one out")
    if origin == "feedback" and (source is not None or metric is not None):
        raise InvalidInput("`--rows` and `--metric` are not of feedback", hint="leave them out")
    if origin == "rows" and tenant is not None:
        raise InvalidInput("`--tenant` is of feedback", hint="add --from feedback")
    from adapterworks.builders.watching.alias import pair_of

    while True:
        pair = pair_of(
            app.registry, app.ref(ref), None if against is None else app.look_for(against)
        )
        if origin == "feedback":
            decision, told = _heard(app, pair, tenant, confidence, max_drop)
        else:
            decision, told = _asked(app, pair, source, metric, confidence, max_drop)
        _settle(app, pair, decision, told, max_drop, rollback, as_json)
        if every is None:
            return
        time.sleep(every)


def _asked(
    app: App, pair: Pair, source: str | None, metric: str | None, confidence: float, most: float
) -> tuple[Decision, dict[str, Any]]:
    from adapterworks.builders.watching.paired import watch_rows
    from adapterworks.engines.compose import compose_builders_engines

    watched = watch_rows(
        pair,
        source=source,
        metric=metric,
        confidence=confidence,
        most=most,
        registry=app.registry,
        bases=app.bases,
        cache=app.settings.home / "cache",
        state=app.settings.home / "watch",
        engines=compose_builders_engines(app, say=app.note),
        progress=_show_progress if sys.stderr.isatty() else None,
        say=app.note,
    )
    told = {"metric": watched.metric, "of": watched.rows, "asked": watched.asked}
    return watched.decision, told


def _heard(
    app: App, pair: Pair, tenant: str | None, confidence: float, most: float
) -> tuple[Decision, dict[str, Any]]:
    from adapterworks.builders.watching.feedback import watch_feedback
    from adapterworks.cli.tenant_shown import admin

    owner = None if tenant is None else admin(app).show(tenant)[0].id
    heard = watch_feedback(app.exchanges, pair, tenant=owner, confidence=confidence, most=most)
    told = {"metric": "feedback", "now": heard.now, "before": heard.before}
    return heard.decision, {**told, "answers": list(heard.answers)}


def _settle(
    app: App,
    pair: Pair,
    decision: Decision,
    told: dict[str, Any],
    most: float,
    rollback: bool,
    as_json: bool,
) -> None:
    """Say what was found; go back and alarm where it is worse."""
    from adapterworks.builders.watching.alias import roll_back
    from adapterworks.cli.promote import describe

    why = _line(pair, decision, told, most)
    worse = decision.verdict == "drop"
    move = None
    if worse and rollback:
        move = roll_back(app.registry, pair, who=app.settings.who, why=why)
    if as_json:
        bounds = [decision.bounds.low, decision.bounds.high]
        printing.echo_json(
            {
                "alias": f"{pair.name}:{pair.alias}",
                "watched": str(pair.watched),
                "reference": str(pair.reference),
                "verdict": decision.verdict,
                "rows": decision.rows,
                "drop": decision.drop,
                "bounds": bounds,
                "max_drop": most,
                **told,
                "rollback": move,
            }
        )
    elif not worse:
        click.echo(why)
    if move is not None and not as_json:
        click.echo(describe(move))
    if worse:
        raise Refused(
            why,
            hint=None
            if rollback
            else f"move it back: adapters rollback {pair.name}:{pair.alias} "
            f"--expect {pair.watched}",
        )


def _line(pair: Pair, decision: Decision, told: dict[str, Any], most: float) -> str:
    """The finding in one line."""
    if "answers" in told:
        seen = "{} and {} judged answers".format(*told["answers"])
    else:
        seen = f"{decision.rows} of {told['of']} rows"
    low, high = decision.bounds.low, decision.bounds.high
    return (
        f"{pair.name}:{pair.alias} is {pair.watched}, {_SAID[decision.verdict]} "
        f"{pair.reference} after {seen}: {told['metric']} dropped by {decision.drop:+.3f} "
        f"[{low:+.3f}, {high:+.3f}], {most:g} is let pass"
    )


def _show_progress(name: str, done: int, total: int) -> None:
    printing.echo_moving(f"{name}: {done}/{total}", last=done == total)
