"""`adapters watch`: an alias looked at again and again; its bounds hold whenever one looks."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adapterworks.app import App
from adapterworks.cli import printing, watch_captured, watch_found, watch_inputs
from adapterworks.cli.amounts import Duration
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import POSITIVE, Real, WrittenFile
from adapterworks.cli.watch_captured import Asked
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.evaluation.sequences import Decision
    from adapterworks.builders.watching.alias import Pair

Origin = Literal["rows", "shadow", "capture", "feedback", "inputs"]
_JUDGE_TOKENS = 200_000


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option(
    "--against",
    shell_complete=complete_ref,
    help="The release to compare with (default: the one that a rollback would restore).",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["rows", "shadow", "capture", "feedback", "inputs"]),
    default="rows",
    show_default=True,
    help="Compare answers to the same rows; to clients, one as a shadow; to what clients asked, "
    "asked again; feedback on answers; or the inputs.",
)
@click.option(
    "--rows",
    "source",
    metavar="SOURCE",
    help="Rows to ask (default: the release's own test rows).",
)
@click.option("--metric", help="The metric to compare; each row scores from 0 to 1.")
@click.option(
    "--judge",
    metavar="URL#MODEL",
    help="For --from shadow: the model that prefers one of two answers.",
)
@click.option("--key-env", metavar="NAME", help="Environment variable with the judge's API key.")
@click.option("--max-tokens", type=POSITIVE, help="Token budget of the judge.  [default: 200000]")
@click.option("--tenant", help="Only what clients of this tenant asked.")
@click.option("--since", type=Duration(), help="Only what clients asked since then (7d, 12h).")
@click.option(
    "--confidence",
    type=Real(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="1 minus the probability of ever being wrong, however often you look.",
)
@click.option(
    "--max-drop",
    type=Real(0, 1, max_open=True),
    default=0.02,
    show_default=True,
    help="The largest acceptable drop of the mean.",
)
@click.option(
    "--max-shift",
    type=Real(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="For --from inputs: the largest acceptable shift of a mean.",
)
@click.option(
    "--metrics",
    "metrics_file",
    type=WrittenFile(),
    help="Also write the result in Prometheus text format.",
)
@click.option("--rollback", is_flag=True, help="Move the alias back if it got worse.")
@click.option("--once", is_flag=True, help="Check once; the default without --every.")
@click.option(
    "--every", type=Duration(), help="Check again at this interval (30m, 1h), until it is worse."
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
    judge: str | None,
    key_env: str | None,
    max_tokens: int | None,
    tenant: str | None,
    since: int | None,
    confidence: float,
    max_drop: float,
    max_shift: float,
    metrics_file: Path | None,
    rollback: bool,
    once: bool,
    every: int | None,
    as_json: bool,
) -> None:
    """Watch an alias: is its release worse than the one before it?

    Both releases answer the same rows, a few at a time in random order, until a confidence sequence
    shows that the drop is larger than --max-drop, or that it is not. Its bounds hold however often
    you look, so stopping early is sound. Answers are kept: an interrupted watch resumes. --from
    shadow compares what both answered to the same requests, by reviewers, a --metric or a --judge;
    --from capture asks both again what clients asked; --from feedback compares what people said;
    --from inputs compares the lengths and topics of captured questions with those that the release
    was trained on.

    Exits with 6 and writes an alarm to the log (webhooks send `alias.alarm`) if the release is
    worse or is asked other things; with --rollback the alias is also moved back, with the reason in
    its log. A running canary is compared with the current holder.

    \b
    Example:
      adapters watch medical:prod
      adapters watch medical:prod --against medical@3 --rows fresh.jsonl --metric exact_match
      adapters watch medical:candidate --against medical:prod --from shadow --metric exact_match
      adapters watch medical:prod --from feedback --max-drop 0.05 --every 1h --rollback
      adapters watch medical:prod --from inputs --since 30d --metrics /var/lib/node/medical.prom
    """
    if once and every is not None:
        raise InvalidInput("`--once` and `--every` exclude each other", hint="leave one out")
    _require_options(
        origin, rows=source, metric=metric, tenant=tenant, since=since, against=against,
        rollback=rollback or None, judge=judge, key_env=key_env, max_tokens=max_tokens,
    )  # fmt: skip
    refuse_unless(origin == "inputs", ("max_shift",), "--from inputs")
    refuse_unless(origin != "inputs", ("max_drop",), "what compares two releases")
    from adapterworks.builders.watching.alias import pair_of

    asked_for = {
        "tenant": tenant,
        "rows": source,
        "since": None if since is None else f"{since}s",
        "confidence": confidence,
    }
    looked = {name: str(value) for name, value in asked_for.items() if value is not None}
    while True:
        if origin == "inputs":
            watch_inputs.look(
                app,
                app.ref(ref),
                source=source,
                tenant=tenant,
                since=since,
                confidence=confidence,
                most=max_shift,
                metrics=metrics_file,
                as_json=as_json,
                looked=looked,
            )
            if every is None:
                return
            time.sleep(every)
            continue
        pair = pair_of(
            app.registry, app.ref(ref), None if against is None else app.look_for(against)
        )
        if origin == "feedback":
            decision, told = _heard(app, pair, tenant, confidence, max_drop)
        elif origin in ("shadow", "capture"):
            asked = Asked(tenant, since, metric, judge, key_env, max_tokens or _JUDGE_TOKENS)
            decision, told = _captured(app, pair, origin, asked, confidence, max_drop)
        else:
            decision, told = _asked(app, pair, source, metric, confidence, max_drop)
        watch_found.settle(
            app, pair, origin, decision, told, max_drop, rollback, metrics_file, as_json, looked
        )
        if every is None:
            return
        time.sleep(every)


def _require_options(origin: Origin, **given: object) -> None:
    """Each option is of some origins only.

    Raises:
        InvalidInput: one is of another.
    """
    of: dict[str, tuple[Origin, ...]] = {
        "rows": ("rows", "inputs"),
        "metric": ("rows", "shadow", "capture"),
        "judge": ("shadow",),
        "key_env": ("shadow",),
        "max_tokens": ("shadow",),
        "tenant": ("shadow", "capture", "feedback", "inputs"),
        "since": ("shadow", "capture", "inputs"),
        "against": ("rows", "shadow", "capture", "feedback"),
        "rollback": ("rows", "shadow", "capture", "feedback"),
    }
    for name, value in given.items():
        if value is not None and origin not in of[name]:
            raise InvalidInput(
                f"`--{name.replace('_', '-')}` is not of {origin}",
                hint=f"leave it out, or add --from {of[name][0]}",
            )


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
    if watched.groups is not None:
        told |= {"groups": watched.groups}
    return watched.decision, told


def _captured(
    app: App, pair: Pair, origin: Origin, asked: Asked, confidence: float, most: float
) -> tuple[Decision, dict[str, Any]]:
    if origin == "shadow":
        return watch_captured.shadowed(app, pair, asked, confidence, most)
    progress = _show_progress if sys.stderr.isatty() else None
    return watch_captured.captured(app, pair, asked, confidence, most, progress)


def _heard(
    app: App, pair: Pair, tenant: str | None, confidence: float, most: float
) -> tuple[Decision, dict[str, Any]]:
    from adapterworks.builders.watching.feedback import watch_feedback
    from adapterworks.cli.tenant_shown import admin

    owner = None if tenant is None else admin(app).show(tenant)[0].id
    heard = watch_feedback(app.exchanges, pair, tenant=owner, confidence=confidence, most=most)
    told = {"metric": "feedback", "now": heard.now, "before": heard.before}
    return heard.decision, {**told, "answers": list(heard.answers)}


def _show_progress(name: str, done: int, total: int) -> None:
    printing.echo_moving(f"{name}: {done}/{total}", last=done == total)
