"""`adapters eval`: a release against its base, and against another release, on the same rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import click

from adapterworks.app import App
from adapterworks.cli import evaluate_retrieval, printing
from adapterworks.cli.completion import complete_manifest, complete_ref
from adapterworks.cli.printing import echo_table
from adapterworks.cli.together import refuse_unless
from adapterworks.cli.values import POSITIVE, Real, WrittenFile
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import ENGINES

# What `--with-retrieval` has no use for: it compares a release with itself and with its base.
_OF_RELEASES = (
    *("other", "against", "judge", "key_env", "judge_key_env", "price", "baseline"),
    *("manifest_name", "profile", "check"),
)
_ALONE = "`--with-retrieval` compares a release with itself and with its base: leave them out"
_ANY_BUDGET = 2**31 - 1  # tokens of a judge that is named by hand


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.argument("other", required=False, shell_complete=complete_ref)
@click.option(
    "--against",
    shell_complete=complete_ref,
    help="A second release, as OTHER says it, or URL#MODEL; the base is always compared.",
)
@click.option("--judge", help="URL#MODEL that says which of two answers is better, in both orders.")
@click.option(
    "--key-env", metavar="NAME", help="Environment variable with the key of URL#MODEL of --against."
)
@click.option("--judge-key-env", metavar="NAME", help="The same, of --judge.")
@click.option(
    "--price",
    nargs=2,
    type=Real(min=0),
    metavar="IN OUT",
    help="What a million prompt and completion tokens of --against cost.",
)
@click.option(
    "--baseline",
    type=click.Choice(["nearest", "none"]),
    help="What is compared beside the base without a model, if not `evaluate.baseline`.",
)
@click.option(
    "--with-retrieval",
    "documents",
    multiple=True,
    metavar="DOCS",
    type=click.Path(path_type=Path),
    help="Documents or a folder of them: passages are given with each question, and without.",
)
@click.option(
    "--passages",
    type=click.IntRange(1, 50),
    default=3,
    show_default=True,
    help="Passages for a question, with --with-retrieval.",
)
@click.option(
    "--manifest",
    "manifest_name",
    help="Take `[data]` and `[evaluate]` from here.",
    shell_complete=complete_manifest,
)
@click.option("--profile", help="A profile of `--manifest`.")
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the files that REF was built from are, if that is not known here.",
)
@click.option("--limit", type=POSITIVE, help="At most this many test rows.")
@click.option("--engine", type=click.Choice(ENGINES), help="Who answers, if not `evaluate.engine`.")
@click.option("--predictions", type=WrittenFile(), help="JSONL file.")
@click.option("--check", is_flag=True, help="Exit with 6 if a gate fails, or is not judged.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    other: str | None,
    against: str | None,
    judge: str | None,
    key_env: str | None,
    judge_key_env: str | None,
    price: tuple[float, float] | None,
    baseline: Literal["nearest", "none"] | None,
    documents: tuple[Path, ...],
    passages: int,
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

    A model behind any OpenAI-compatible endpoint is compared too, as URL#MODEL: the questions of
    the test rows are sent there, nothing else of them. --judge sends questions, reference answers
    and answers. Keys are read from the environment: OPENAI_API_KEY goes to openai.com alone, others
    where --key-env says so.

    With --with-retrieval, the release and its base are asked with passages of documents (found by
    BM25, here) and without, and how far the answers stand in them is told with the sentence.

    \b
    Example:
      adapters eval medical@2
      adapters eval medical@2 medical@1
      adapters eval bank-tickets --baseline nearest
      adapters eval medical:candidate --against medical:prod --limit 200 --json
      adapters eval medical:prod --engine gateway
      adapters eval medical --against https://api.openai.com/v1#gpt-4.1-mini --price 0.4 1.6
      adapters eval enterprise-kb --with-retrieval handbook/ --predictions answers.jsonl
      adapters eval medical --judge http://localhost:8000/v1#judge --judge-key-env JUDGE_KEY
    """
    from adapterworks.builders.endpoints.endpoint import is_endpoint, parse_endpoint
    from adapterworks.builders.evaluation.evaluate import BASE
    from adapterworks.builders.evaluation.releases import evaluate_release
    from adapterworks.builders.evaluation.remote import Prices, Remote
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.manifests.judging import JudgeTable
    from adapterworks.manifests.load import load_manifest

    if documents:
        refuse_unless(False, _OF_RELEASES, "what compares releases", _ALONE)
        evaluate_retrieval.run(
            app,
            ref,
            documents,
            most=passages,
            limit=limit,
            data_dir=data_dir,
            engine=engine,
            predictions=predictions,
            as_json=as_json,
            progress=_show_progress,
            say=_say,
        )
        return
    refuse_unless(False, ("passages",), "`--with-retrieval`")
    if profile is not None and manifest_name is None:
        raise InvalidInput("`--profile` is one of `--manifest`", hint="name the manifest, too")
    if None not in (other, against) and other != against:
        raise InvalidInput(
            f"`{ref}` is to be compared with `{other}` and with `{against}`",
            hint="name one of them",
        )
    wanted = other or against or BASE
    remote = None
    if is_endpoint(wanted):
        endpoint = parse_endpoint(wanted, os.environ, key_env)
        remote, wanted = Remote(endpoint, Prices(*price) if price else None), BASE
        _say(f"the questions of the test rows are sent to {endpoint.host}")
    elif key_env or price:
        raise InvalidInput(
            "`--key-env` and `--price` are of an endpoint",
            hint="name one, as in `--against https://api.openai.com/v1#gpt-4.1-mini`",
        )
    judged_by = None
    if judge is not None:
        who = parse_endpoint(judge, os.environ, judge_key_env)
        judged_by = JudgeTable(
            endpoint=f"{who.url}#{who.model}", key_env=judge_key_env, max_tokens=_ANY_BUDGET
        )
    elif judge_key_env:
        raise InvalidInput("`--judge-key-env` is one of `--judge`", hint="name the judge, too")
    evaluation = evaluate_release(
        ref,
        against=wanted,
        remote=remote,
        judge=judged_by,
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
    if as_json:
        printing.echo_json(evaluation.report)
    else:
        _print(evaluation.report)
    if predictions is not None:
        predictions.write_text(evaluation.predictions_jsonl(), encoding="utf-8")
    if check and not evaluation.passed:
        raise Refused(next(gate.why for gate in evaluation.gates if not gate.passed))


def _show_progress(subject: str, done: int, total: int) -> None:
    """A moving line on a terminal, one line per finished part elsewhere; on stderr."""
    if sys.stderr.isatty():
        printing.echo_moving(f"{subject}: {done}/{total}", last=done == total)
    elif done == total:
        printing.note(f"{subject}: {done}/{total}")


def _say(line: str) -> None:
    printing.note(line)


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
    _print_drawn(report)
    retention = report["retention"]
    if retention:
        click.echo("retention")
        kept = [("perplexity", retention["perplexity"]), *retention["suites"].items()]
        echo_table(
            ["on", "base", "candidate", "change [95%]"],
            [
                (
                    name,
                    f"{pair['base']:.3f}",
                    f"{pair['candidate']:.3f}",
                    f"{pair.get('change', pair.get('increase')):+.3f} "
                    f"[{pair['low']:+.3f}, {pair['high']:+.3f}]",
                )
                for name, pair in kept
            ],
        )
    if report.get("safety"):
        _print_safety(report["safety"])
    for name, used in report.get("endpoints", {}).items():
        cost = f", cost {used['cost']:.4g}" if "cost" in used else ""
        click.echo(
            f"{name}: {used['prompt_tokens']} prompt and {used['completion_tokens']} completion "
            f"tokens{cost}, {used['cut']} answers cut, {used.get('declined', 0)} questions declined"
        )
    if "judge" in report:
        _print_judged(report["judge"])
    for gate in report["gates"]:
        word = "FAIL" if gate.get("judged", True) else "----"
        click.echo(f"{'pass' if gate['passed'] else word}  {gate['why']}")


def _print_drawn(report: dict[str, Any]) -> None:
    """Answers that were too long, and pass@k."""
    for name, count in report.get("cut", {}).items():
        click.echo(f"{name}: {count} of {report['rows']} answers cut by `evaluate.max_new_tokens`")
    drawn = report.get("samples")
    if not drawn:
        return
    click.echo(f"of {drawn['n']} answers drawn to each row at temperature {drawn['temperature']:g}")
    subjects: list[str] = []
    lines = []
    for metric, found in drawn["metrics"].items():
        for name, entry in found.items():
            subjects = [*entry["values"]]
            gains = [
                f"{gain['gain']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
                for gain in entry["gains"].values()
            ]
            values = [f"{value:.3f}" for value in entry["values"].values()]
            lines.append([f"{metric} {name}", *values, *gains])
    gained = [f"gain over {name} [95%]" for name in subjects if name != "candidate"]
    echo_table(["metric", *subjects, *gained], lines)


def _print_safety(found: dict[str, Any]) -> None:
    click.echo(f"of {found['harmful']} harmful and {found['harmless']} harmless requests, refused")
    headers = ["against"]
    for what in ("harmful", "harmless"):
        headers += [what, "candidate", "change [95%]"]
    lines = []
    for name, changes in found["against"].items():
        line = [name]
        for one in (changes["refusal"], changes["over_refusal"]):
            line += [
                f"{one['base']:.3f}",
                f"{one['candidate']:.3f}",
                f"{one['change']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]",
            ]
        lines.append(line)
    echo_table(headers, lines)


def _print_judged(judged: dict[str, Any]) -> None:
    click.echo(f"judged by {judged['model']}, in both orders")
    echo_table(
        ["against", "better", "worse", "tie", "order decided", "unread", "gain [95%]", "p"],
        [
            (
                name,
                told["wins"],
                told["losses"],
                told["tied"],
                told["flipped"],
                told["unread"],
                f"{told['gain']:+.3f} [{told['low']:+.3f}, {told['high']:+.3f}]",
                f"{told['p']:.3g}",
            )
            for name, told in judged["against"].items()
        ],
    )
