"""`adapters eval`: a release against its base, and against another release, on the same rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.printing import echo_table
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.models import ENGINES


@click.command()
@click.argument("ref")
@click.argument("other", required=False)
@click.option("--against", help="A second release, as OTHER says it; the base is always compared.")
@click.option(
    "--baseline",
    type=click.Choice(["nearest", "none"]),
    help="What is compared beside the base without a model, if not `evaluate.baseline`.",
)
@click.option("--manifest", "manifest_name", help="Take `[data]` and `[evaluate]` from here.")
@click.option("--profile", help="A profile of `--manifest`.")
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the files that REF was built from are, if that is not known here.",
)
@click.option("--limit", type=click.IntRange(1), help="At most this many test rows.")
@click.option("--engine", type=click.Choice(ENGINES), help="Who answers, if not `evaluate.engine`.")
@click.option("--predictions", type=click.Path(dir_okay=False, path_type=Path), help="JSONL file.")
@click.option("--check", is_flag=True, help="Exit with 6 if a gate fails.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    other: str | None,
    against: str | None,
    baseline: Literal["nearest", "none"] | None,
    manifest_name: str | None,
    profile: str | None,
    data_dir: Path | None,
    limit: int | None,
    engine: str | None,
    predictions: Path | None,
    check: bool,
    as_json: bool,
) -> None:
    """Evaluate a release against another on the same rows.

    The base is always among the compared. Rows, metrics and gates are those of the manifest that
    REF was built from, and OTHER is asked the same rows; test rows that one of its data gates drops
    are left out, as in the build, and no data gate refuses. What an engine answered before is not
    asked again.

    \b
    Example:
      adapters eval medical@2
      adapters eval medical@2 medical@1
      adapters eval bank-tickets --baseline nearest
      adapters eval medical:candidate --against medical:prod --limit 200 --json
      adapters eval medical:prod --engine gateway
    """
    from adapterworks.builders.evaluation.evaluate import BASE
    from adapterworks.builders.evaluation.releases import evaluate_release
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.manifests.load import load_manifest

    if profile is not None and manifest_name is None:
        raise InvalidInput("`--profile` is one of `--manifest`", hint="name the manifest, too")
    if None not in (other, against) and other != against:
        raise InvalidInput(
            f"`{ref}` is to be compared with `{other}` and with `{against}`",
            hint="name one of them",
        )
    evaluation = evaluate_release(
        ref,
        against=other or against or BASE,
        baseline=baseline,
        manifest=load_manifest(manifest_name, profile=profile) if manifest_name else None,
        data_dir=data_dir,
        limit=limit,
        registry=app.registry,
        bases=app.bases,
        cache=app.settings.home / "cache",
        engines=compose_builders_engines(app, wanted=engine, say=_say),
        progress=_show_progress,
        say=_say,
    )
    if predictions is not None:
        predictions.write_text(evaluation.predictions_jsonl(), encoding="utf-8")
    if as_json:
        printing.echo_json(evaluation.report)
    else:
        _print(evaluation.report)
    if check and not evaluation.passed:
        raise Refused(next(gate.why for gate in evaluation.gates if not gate.passed))


def _show_progress(subject: str, done: int, total: int) -> None:
    """A moving line on a terminal, one line per finished part elsewhere; on stderr."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{subject}: {done}/{total}", nl=done == total, err=True)
    elif done == total:
        click.echo(f"{subject}: {done}/{total}", err=True)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(report: dict[str, Any]) -> None:
    subjects = report["subjects"]
    references = [name for name in subjects if name != "candidate"]
    parts = [(f"{report['rows']} test rows", report["metrics"])]
    for name, part in report["slices"].items():
        parts.append((f"{part['rows']} of them: {name}", part["metrics"]))
    for title, metrics in parts:
        click.echo(title)
        lines = []
        for name, entry in metrics.items():
            line = [name, *(f"{entry['values'][subject]:.3f}" for subject in subjects)]
            for reference in references:
                gain = entry["gains"][reference]
                line += [
                    f"{gain['gain']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]",
                    f"{gain['p_holm']:.3g}",
                ]
            lines.append(line)
        headers = ["metric", *subjects]
        for reference in references:
            headers += [f"gain over {reference} [{report['confidence']:.0%}]", "p (Holm)"]
        echo_table(headers, lines)
    retention = report["retention"]
    if retention:
        click.echo("retention")
        kept = [("perplexity", retention["perplexity"]), *retention["suites"].items()]
        echo_table(
            ["on", "base", "candidate"],
            [(name, f"{pair['base']:.3f}", f"{pair['candidate']:.3f}") for name, pair in kept],
        )
    for gate in report["gates"]:
        click.echo(f"{'pass' if gate['passed'] else 'FAIL'}  {gate['why']}")
