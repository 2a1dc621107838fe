"""`adapters eval`: a release against its base, and against another release, on the same rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from adapterworks.app import App
from adapterworks.cli import evaluate_retrieval, evaluation_shown, printing
from adapterworks.cli.completion import complete_manifest, complete_ref
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import POSITIVE, Real, WrittenFile
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import ENGINES

if TYPE_CHECKING:
    from adapterworks.builders.evaluation.remote import Remote
    from adapterworks.manifests.judging import JudgeTable

# What `--with-retrieval` has no use for: it compares a release with itself and with its base.
_OF_RELEASES = (
    *("other", "against", "judge", "key_env", "judge_key_env", "price", "baseline"),
    *("manifest_name", "profile", "check"),
)
_ALONE = "`--with-retrieval` compares a release with itself and with its base: leave them out"
_NO_BOUND = 2**31 - 1  # tokens: nobody said a budget


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.argument("other", required=False, shell_complete=complete_ref)
@click.option(
    "--against",
    shell_complete=complete_ref,
    help="A second release (same as OTHER), or URL#MODEL; the base is always compared.",
)
@click.option(
    "--judge", help="URL#MODEL that decides which of two answers is better, in both orders."
)
@click.option(
    "--key-env", metavar="NAME", help="Environment variable with the API key for --against."
)
@click.option(
    "--judge-key-env", metavar="NAME", help="Environment variable with the API key for --judge."
)
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
    help="Baseline without a model, instead of `evaluate.baseline`.",
)
@click.option(
    "--with-retrieval",
    "documents",
    multiple=True,
    metavar="DOCS",
    type=click.Path(path_type=Path),
    help="Documents, or a folder of them, to retrieve passages from.",
)
@click.option(
    "--passages",
    type=click.IntRange(1, 50),
    default=3,
    show_default=True,
    help="With --with-retrieval: passages per question.",
)
@click.option(
    "--manifest",
    "manifest_name",
    help="Take `[data]` and `[evaluate]` from this manifest.",
    shell_complete=complete_manifest,
)
@click.option("--profile", help="A profile of `--manifest`.")
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the files that REF was built from, if it is not known here.",
)
@click.option("--limit", type=POSITIVE, help="At most this many test rows.")
@click.option("--engine", type=click.Choice(ENGINES), help="Engine, instead of `evaluate.engine`.")
@click.option("--predictions", type=WrittenFile(), help="Write all answers to this JSONL file.")
@click.option(
    "--check", is_flag=True, help="Exit with 6 if a gate fails or could not be evaluated."
)
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

    The base is always compared too. Rows, metrics and gates come from the manifest that REF was
    built from, and OTHER is asked the same rows. Test rows that a data gate drops are left out, as
    in the build, and no data gate refuses. Answers that an engine gave before are reused.

    A model behind any OpenAI-compatible endpoint can be compared as URL#MODEL: only the questions
    of the test rows are sent there. --judge sends questions, reference answers and answers. Keys
    come from the environment: OPENAI_API_KEY is sent to openai.com only; name other keys with
    --key-env.

    With --with-retrieval, the release and its base are asked with and without passages from
    documents (found locally with BM25), and the report says how far the passages support each
    answer, and with which sentence.

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
    from adapterworks.builders.evaluation.releases import evaluate_release
    from adapterworks.engines.compose import compose_builders_engines
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
            say=printing.note,
        )
        return
    refuse_unless(False, ("passages",), "`--with-retrieval`")
    if profile is not None and manifest_name is None:
        raise InvalidInput("`--profile` is one of `--manifest`", hint="name the manifest, too")
    wanted, remote = _compared(ref, other, against, key_env, price)
    evaluation = evaluate_release(
        ref,
        against=wanted,
        remote=remote,
        judge=_judge(judge, judge_key_env),
        baseline=baseline,
        manifest=load_manifest(manifest_name, profile=profile) if manifest_name else None,
        data_dir=data_dir,
        limit=limit,
        registry=app.registry,
        bases=app.bases,
        cache=app.settings.home / "cache",
        engines=compose_builders_engines(app, wanted=engine, say=printing.note),
        progress=_show_progress,
        say=printing.note,
    )
    if as_json:
        printing.echo_json(evaluation.report)
    else:
        evaluation_shown.show(evaluation.report)
    if predictions is not None:
        predictions.write_text(evaluation.predictions_jsonl(), encoding="utf-8")
    if check and not evaluation.passed:
        raise Refused(next(gate.why for gate in evaluation.gates if not gate.passed))


def _compared(
    ref: str,
    other: str | None,
    against: str | None,
    key_env: str | None,
    price: tuple[float, float] | None,
) -> tuple[str, Remote | None]:
    """What the release is compared with: a ref or the base, and a model behind an endpoint.

    Raises:
        InvalidInput: two are named, or options of an endpoint without one.
    """
    from adapterworks.builders.endpoints.endpoint import is_endpoint, parse_endpoint
    from adapterworks.builders.evaluation.evaluate import BASE
    from adapterworks.builders.evaluation.remote import Prices, Remote

    if None not in (other, against) and other != against:
        raise InvalidInput(
            f"`{ref}` is to be compared with `{other}` and with `{against}`",
            hint="name one of them",
        )
    wanted = other or against or BASE
    if is_endpoint(wanted):
        endpoint = parse_endpoint(wanted, os.environ, key_env)
        printing.note(f"the questions of the test rows are sent to {endpoint.host}")
        return BASE, Remote(endpoint, Prices(*price) if price else None)
    if key_env or price:
        raise InvalidInput(
            "`--key-env` and `--price` are of an endpoint",
            hint="name one, as in `--against https://api.openai.com/v1#gpt-4.1-mini`",
        )
    return wanted, None


def _judge(judge: str | None, key_env: str | None) -> JudgeTable | None:
    """The judge that is named by hand; its budget of tokens has no bound.

    Raises:
        InvalidInput: a key without a judge.
    """
    from adapterworks.builders.endpoints.endpoint import parse_endpoint
    from adapterworks.manifests.judging import JudgeTable

    if judge is None:
        if key_env:
            raise InvalidInput("`--judge-key-env` is one of `--judge`", hint="name the judge, too")
        return None
    who = parse_endpoint(judge, os.environ, key_env)
    return JudgeTable(endpoint=f"{who.url}#{who.model}", key_env=key_env, max_tokens=_NO_BOUND)


def _show_progress(subject: str, done: int, total: int) -> None:
    """A moving line on a terminal, one line per finished part elsewhere; on stderr."""
    if sys.stderr.isatty():
        printing.echo_moving(f"{subject}: {done}/{total}", last=done == total)
    elif done == total:
        printing.note(f"{subject}: {done}/{total}")
