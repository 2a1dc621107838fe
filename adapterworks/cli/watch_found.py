"""What `adapters watch` says and does about what it found of two releases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.watch_alarm import Alarm, raise_alarm
from adapterworks.manifests.errors import Refused

if TYPE_CHECKING:
    from adapterworks.builders.evaluation.sequences import Decision
    from adapterworks.builders.watching.alias import Pair

_SAID = {
    "drop": "worse than",
    "steady": "no worse than",
    "undecided": "not yet told apart from",
}


def settle(
    app: App,
    pair: Pair,
    origin: str,
    decision: Decision,
    told: dict[str, Any],
    most: float,
    rollback: bool,
    metrics: Path | None,
    as_json: bool,
    looked: Mapping[str, str],
) -> None:
    """Say what was found; go back and alarm where it is worse.

    Args:
        looked: what was asked for, besides what was found with it.
    """
    from adapterworks.builders.watching.alias import roll_back
    from adapterworks.cli.promote import describe

    why = _line(pair, decision, told, most)
    worse = decision.verdict == "drop"
    beside = {
        "against": str(pair.reference),
        "metric": str(told["metric"]),
        "max_drop": f"{most:g}",
    }
    alarm = Alarm(pair.name, pair.watched.version, pair.alias, origin, why, {**looked, **beside})
    gauges = [("alarm", alarm.labels, float(worse)), ("drop", alarm.labels, decision.drop)]
    gauges.append(("rows", alarm.labels, float(decision.rows)))
    raise_alarm(app, alarm, metrics, gauges, wrong=worse)
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
    elif "pairs" in told:
        seen = f"{decision.rows} of {told['pairs']} requests ({told['same']} answered alike)"
    elif "groups" in told:
        seen = f"{decision.rows} of {told['groups']} groups of {told['of']} rows"
    else:
        seen = f"{decision.rows} of {told['of']} rows"
    low, high = decision.bounds.low, decision.bounds.high
    return (
        f"{pair.name}:{pair.alias} is {pair.watched}, {_SAID[decision.verdict]} "
        f"{pair.reference} after {seen}: {told['metric']} dropped by {decision.drop:+.3f} "
        f"[{low:+.3f}, {high:+.3f}], {most:g} is let pass"
    )
