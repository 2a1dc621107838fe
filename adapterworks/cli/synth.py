"""`adapters data synth`: rows that a model writes, of documents or of rows that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import made_rows_options, printing
from adapterworks.cli.columns import column_names
from adapterworks.cli.made_rows import Making
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import POSITIVE, Real
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.synthesis.checks import Checks
    from adapterworks.registry.datasets.record import Split

_PREVIEW = 10
_DOCUMENTS, _SELF, _EVOL, _PARAPHRASE = (
    *("documents", "self-instruct", "evol-instruct", "paraphrase"),
)
_OF_SEEDS = (_SELF, _EVOL, _PARAPHRASE)
# Options of some strategies: whose they are, and what they are if nobody says.
_OPTIONS: dict[str, tuple[tuple[str, ...], Any]] = {
    "per_passage": ((_DOCUMENTS,), 3),
    "rows": (_OF_SEEDS, None),
    "rounds": ((_EVOL,), 1),
    "each": ((_PARAPHRASE,), 3),
    "likeness": ((_PARAPHRASE,), 0.2),
    "verifier": (_OF_SEEDS, None),
    "answer_tokens": ((_SELF, _EVOL), 512),
    "temperature": (_OF_SEEDS, 0.7),
    "seed": (_OF_SEEDS, 0),
}
_ROWS = 100  # of self-instruct, which has no end of its own


@click.command("synth")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…")
@click.option(
    "--strategy",
    type=click.Choice([_DOCUMENTS, *_OF_SEEDS]),
    default=_DOCUMENTS,
    show_default=True,
    help="Questions from documents; or from rows: new ones, harder ones, paraphrases.",
)
@made_rows_options.options(
    "--generator",
    writes="The model that writes rows.",
    judges="The model that scores rows from 1 to 5.",
    out="synth.jsonl",
    max_tokens=100_000,
    previewed=_PREVIEW,
)
@click.option(
    "--novelty",
    type=Real(0, 1, min_open=True),
    default=0.7,
    show_default=True,
    help="Drop questions with at least this ROUGE-L to a seed's or a kept one.",
)
@click.option("--min-score", type=click.IntRange(1, 5), default=4, show_default=True)
@click.option(
    "--against",
    multiple=True,
    metavar="SOURCE",
    help="Test rows (a file, `dataset:NAME@N`, …): rows with their questions are dropped.",
)
@click.option("--format", "format_", default="messages", show_default=True, help="Row format.")
@click.option("--column", "columns", multiple=True, metavar="NAME=COLUMN", help="Rename columns.")
@click.option("--tenant", metavar="NAME", help="The tenant that owns the seeds.")
@click.option("--per-passage", type=click.IntRange(1, 20), help="Pairs per passage.  [default: 3]")
@click.option("--rows", type=POSITIVE, help="From rows: stop after this many.")
@click.option("--rounds", type=click.IntRange(1, 8), help="Evolutions per seed.  [default: 1]")
@click.option("--each", type=click.IntRange(1, 20), help="Paraphrases per seed.  [default: 3]")
@click.option(
    "--likeness",
    type=Real(0, 1),
    help="Minimum cosine of paraphrase and seed, without a judge.  [default: 0.2]",
)
@click.option(
    "--verifier",
    metavar="METRIC",
    help="From rows: checks answers by columns, or against a second answer.",
)
@click.option(
    "--answer-tokens", type=click.IntRange(1, 8192), help="Tokens per answer.  [default: 512]"
)
@click.option("--temperature", type=Real(0, 2), help="For questions.  [default: 0.7]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed for sampling.  [default: 0]")
@click.pass_obj
def command(
    app: App,
    /,
    sources: tuple[str, ...],
    strategy: str,
    writer: str,
    novelty: float,
    min_score: int,
    against: tuple[str, ...],
    format_: str,
    columns: tuple[str, ...],
    tenant: str | None,
    **given: Any,
) -> None:
    """Let a model write rows, from documents or from existing rows.

    With `documents`, SOURCE is files or folders of Markdown, text, HTML, PDF and Word, and each row
    quotes the words of its passage that prove it. Otherwise SOURCE is rows, as in `data.train`:
    `self-instruct` writes new questions of their kind, `evol-instruct` harder or different ones,
    `paraphrase` the same ones in other words. Each row has to pass, in this order: local checks,
    --against, --verifier, --judge. Answers of an endpoint are saved as they arrive: an interrupted
    run, or one after --preview, only asks for the rest. SOURCE is sent to the endpoints; a tenant's
    dataset only with --tenant, and only if the tenant allows training on it.

    \b
    Example:
      adapters data synth handbook/ --generator http://localhost:8000/v1#base --preview
      adapters data synth handbook/ faq.html --generator http://localhost:8000/v1#base \\
        --judge https://api.openai.com/v1#gpt-4.1-mini --max-tokens 500000 --out handbook.jsonl
      adapters data synth seeds.jsonl --strategy self-instruct --rows 500 \\
        --generator https://api.openai.com/v1#gpt-4.1-mini --max-cost 2.50 --price-in 0.40 \\
        --price-out 1.60 --against dataset:tickets@1#test --preview
      adapters dataset add handbook handbook.jsonl --synthetic-from base
    """
    chosen = _options(strategy, given)
    refuse_unless(given["judge"] is not None, ("min_score",), "a judge: --judge URL#MODEL")
    asked = made_rows_options.read_options(app, writer, "synth", _PREVIEW, given)
    renamed = column_names(columns)
    checks = _checks(app, novelty, min_score, against, format_, renamed, chosen["verifier"])
    if strategy == _DOCUMENTS:
        if tenant is not None:
            raise InvalidInput("documents are no data set of a tenant's: leave `--tenant` out")
        _of_documents(app, asked, sources, checks, chosen["per_passage"])
        return
    seeds = _seeds(app, sources, format_, renamed, tenant)
    app.note(f"{len(seeds)} seed rows; they are sent to {asked.hosts}")
    if checks.reads_columns and checks.verifier is not None and checks.verifier.require is not None:
        checks.verifier.require(seeds)
    _of_seeds(asked, strategy, seeds, checks, chosen)


def _of_documents(
    app: App, asked: Making, sources: Sequence[str], checks: Checks, per_passage: int
) -> None:
    from adapterworks.builders.synthesis.passages import read_passages
    from adapterworks.builders.synthesis.strategies.documents import Documents

    passages = read_passages([Path(source) for source in sources])
    app.note(f"{len(passages)} passages; they are sent to {asked.hosts}")
    asked.run(
        Documents(checks, per_passage, asked.parallel),
        passages,
        what="passages",
        count=len(passages),
        line=_line,
        show=_show,
    )


def _of_seeds(
    asked: Making, strategy: str, seeds: Sequence[Row], checks: Checks, chosen: Mapping[str, Any]
) -> None:
    from adapterworks.builders.synthesis.answering import Answering
    from adapterworks.builders.synthesis.strategies.evol_instruct import EvolInstruct
    from adapterworks.builders.synthesis.strategies.paraphrase import Paraphrase
    from adapterworks.builders.synthesis.strategies.self_instruct import SelfInstruct

    answering = Answering(chosen["answer_tokens"] or 512, chosen["temperature"], chosen["seed"])
    if strategy == _SELF:
        asked.run(
            SelfInstruct(seeds, checks, answering),
            count(),
            what="rounds",
            count=None,
            wanted=chosen["rows"] or _ROWS,
            line=_line,
            show=_show,
        )
        return
    made: EvolInstruct | Paraphrase = (
        EvolInstruct(seeds, checks, answering, chosen["rounds"])
        if strategy == _EVOL
        else Paraphrase(seeds, checks, answering, each=chosen["each"], likeness=chosen["likeness"])
    )
    asked.run(
        made,
        seeds,
        what="seeds",
        count=len(seeds),
        wanted=chosen["rows"],
        line=_line,
        show=_show,
    )


def _options(strategy: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of the strategies, with their defaults; taken out of what is given.

    Raises:
        InvalidInput: one is of another strategy.
    """
    chosen = {}
    for name, (whose, default) in _OPTIONS.items():
        value = given.pop(name)
        if value is not None and strategy not in whose:
            raise InvalidInput(
                f"`--{name.replace('_', '-')}` is not of `{strategy}`",
                hint=f"leave it out, or choose --strategy {whose[0]}",
            )
        chosen[name] = default if value is None else value
    return chosen


def _checks(
    app: App,
    novelty: float,
    min_score: int,
    against: Sequence[str],
    format_: str,
    columns: Mapping[str, str],
    verifier: str | None,
) -> Checks:
    from adapterworks.builders.evaluation.metrics import metric
    from adapterworks.builders.synthesis.against import Against
    from adapterworks.builders.synthesis.checks import Checks, require_verifier

    sets = {source: _read(app, source, format_, columns, "test") for source in against}
    return Checks(
        novelty,
        min_score,
        None if verifier is None else require_verifier(metric(verifier)),
        Against(sets) if sets else None,
    )


def _seeds(
    app: App,
    sources: Sequence[str],
    format_: str,
    columns: Mapping[str, str],
    tenant: str | None,
) -> list[Row]:
    from adapterworks.builders.synthesis.owned import require_own
    from adapterworks.builders.synthesis.seeds import seeds_of

    require_own(sources, app.registry, tenant)
    if tenant is not None:
        app.note(f"what is written is `{tenant}`'s: `adapters dataset add … --tenant {tenant}`")
    rows = [row for one in sources for row in _read(app, one, format_, columns, "train")]
    return seeds_of(rows)


def _read(
    app: App, source: str, format_: str, columns: Mapping[str, str], split: Split
) -> Sequence[Row]:
    from adapterworks.builders.data.load import load_source

    return load_source(
        source,
        format_,
        columns=columns,
        cache=app.settings.home / "cache",
        split=split,
        registry=app.registry,
    ).rows


def _show(row: Row) -> None:
    """A row as a person reads it."""
    click.echo(f"{printing.harmless(row.question)}\n  → {printing.harmless(row.answer)}")
    meta = row.meta
    if "document" in meta:
        page = f", page {meta['page']}" if "page" in meta else ""
        click.echo(f"  {meta['document']}{page}: “{printing.harmless(meta['evidence'])}”")
    else:
        told = [meta["strategy"], *(str(meta[n]) for n in ("operation", "round") if n in meta)]
        if "judge_score" in meta:
            told.append(f"score {meta['judge_score']}")
        click.echo(f"  {', '.join(told)}")
    click.echo()


def _line(row: Row) -> dict[str, Any]:
    return {"messages": list(row.messages), **row.meta}
