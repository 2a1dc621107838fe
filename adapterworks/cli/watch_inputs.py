"""`adapters watch --from inputs`: what is asked, beside what the release was made for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.watch_alarm import Alarm, Gauge, raise_alarm
from adapterworks.manifests.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adapterworks.builders.watching.inputs import Inputs
    from adapterworks.manifests.refs import Ref
    from adapterworks.registry.releases.types import Resolved

_SAID = {
    "drift": "is asked other things than it was made for",
    "steady": "is asked what it was made for",
    "undecided": "has not been asked enough to tell",
}


def look(
    app: App,
    ref: Ref,
    *,
    source: str | None,
    tenant: str | None,
    since: int | None,
    confidence: float,
    most: float,
    metrics: Path | None,
    as_json: bool,
    looked: Mapping[str, str],
) -> None:
    """Compare once, and say what was found.

    Args:
        looked: what was asked for.

    Raises:
        InvalidInput: it is no alias, or too few questions are known.
        Refused: what is asked has drifted.
    """
    from adapterworks.builders.watching.inputs import watch_inputs

    if ref.alias is None:
        raise InvalidInput(
            f"`{ref}` is a version, which is asked under its aliases",
            hint=f"watch an alias: {ref.name}:prod",
        )
    release = app.registry.resolve(ref)
    known = _known(app, release, source)
    traffic = _traffic(app, ref.name, tenant, since)
    found = watch_inputs(known, traffic, confidence=confidence, most=most)
    why = _line(ref, release, found, most)
    drifted = found.verdict == "drift"
    alarm = Alarm(
        ref.name, release.version, ref.alias, "inputs", why, {**looked, "max_shift": f"{most:g}"}
    )
    raise_alarm(app, alarm, metrics, _gauges(alarm.labels, found), wrong=drifted)
    if as_json:
        named = {"alias": f"{ref.name}:{ref.alias}", "release": str(release), "max_shift": most}
        printing.echo_json(named | found.to_json())
    else:
        click.echo(why)
        _show(found)
    if drifted:
        raise Refused(why, hint="look at what is asked: adapters data from-failures --from capture")


def _known(app: App, release: Resolved, source: str | None) -> list[str]:
    """The questions of the release's training rows, or of a source."""
    from adapterworks.builders.data.assemble import rows_to_evaluate
    from adapterworks.builders.data.load import load_like
    from adapterworks.builders.evaluation.releases import manifest_here
    from adapterworks.builders.evaluation.subjects import find_subject

    cache = app.settings.home / "cache"
    found = find_subject(app.registry, app.bases, str(release))
    manifest = manifest_here(app.registry, found, cache=cache)
    if source is None:
        base = found.base.model.folder
        rows = rows_to_evaluate(manifest, base=base, cache=cache, registry=app.registry).train
    else:
        rows = load_like(manifest, source, cache=cache, registry=app.registry).rows
    return [row.question for row in rows if row.text is None]


def _traffic(app: App, adapter: str, tenant: str | None, since: int | None) -> list[str]:
    """The questions that were captured, oldest first."""
    from adapterworks.cli.tenant_shown import admin

    items = app.exchanges.read(
        tenant=None if tenant is None else admin(app).show(tenant)[0].id,
        adapter=adapter,
        since=0.0 if since is None else time.time() - since,
    )
    asked = (
        next((turn for turn in reversed(item.messages) if turn.get("role") == "user"), None)
        for item in items
    )
    return [turn["content"] for turn in asked if turn and isinstance(turn.get("content"), str)]


def _line(ref: Ref, release: Resolved, found: Inputs, most: float) -> str:
    moved = [one for one in found.aspects if one.verdict == "drift"]
    # Without a topic's words, which are of the rows: the line goes into the log, and to webhooks.
    told = "; ".join(
        f"{one.name} {one.before:.3f} → {one.now:.3f}, shifted by [{one.low:+.3f}, {one.high:+.3f}]"
        for one in moved
    )
    return (
        f"{ref.name}:{ref.alias} is {release}, which {_SAID[found.verdict]}: {found.asked} "
        f"questions beside {found.known} known ones, a shift of {most:g} is let pass"
        + (f": {told}" if told else "")
    )


def _named(name: str, words: tuple[str, ...]) -> str:
    return f"{name} ({printing.harmless(', '.join(words))})" if words else name


def _show(found: Inputs) -> None:
    columns = ("what", "before", "now", "low", "high", "verdict")
    printing.echo_table(
        columns,
        [
            [
                _named(one.name, one.words),
                *(f"{value:.3f}" for value in (one.before, one.now)),
                *(f"{value:+.3f}" for value in (one.low, one.high)),
                one.verdict,
            ]
            for one in found.aspects
        ],
    )


def _gauges(labels: dict[str, str], found: Inputs) -> list[Gauge]:
    gauges: list[Gauge] = [
        ("alarm", labels, float(found.verdict == "drift")),
        ("questions", labels, float(found.asked)),
    ]
    for one in found.aspects:
        gauges.append(("shift", {**labels, "what": one.name}, one.now - one.before))
    return gauges
