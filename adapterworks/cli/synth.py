"""`adapters data synth`: questions and answers from documents, with the words that prove them."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.made_rows import show_progress, write_lines
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.endpoints.kept import KeptAnswers
    from adapterworks.builders.synthesis.run import Made

_PREVIEW = 10


@click.command("synth")
@click.argument("docs", nargs=-1, required=True, metavar="DOCS…", type=click.Path(path_type=Path))
@click.option("--generator", required=True, metavar="URL#MODEL", help="Who writes the pairs.")
@click.option("--judge", metavar="URL#MODEL", help="Who scores them from 1 to 5.")
@click.option("--key-env", metavar="NAME", help="Environment variable with the generator's key.")
@click.option("--judge-key-env", metavar="NAME", help="The same, of --judge.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("synth.jsonl"),
    show_default=True,
    help="JSONL file of the rows.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Budget of prompts and answers, both models'.",
)
@click.option("--per-passage", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option(
    "--novelty",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.7,
    show_default=True,
    help="ROUGE-L to a kept question from which one is left out.",
)
@click.option("--min-score", type=click.IntRange(1, 5), default=4, show_default=True)
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--preview", is_flag=True, help="Show ten rows and what they cost; write no file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    docs: tuple[Path, ...],
    generator: str,
    judge: str | None,
    key_env: str | None,
    judge_key_env: str | None,
    out: Path,
    max_tokens: int,
    per_passage: int,
    novelty: float,
    min_score: int,
    parallel: int,
    preview: bool,
    as_json: bool,
) -> None:
    """Write questions and answers from documents, each with the words that prove it.

    DOCS are files or folders of Markdown, text, HTML, PDF and Word. A pair is kept if its evidence
    stands in its passage, its question is new, and, with --judge, its score is high enough. What
    an endpoint answered is kept as it arrives: a run that was ended, or comes after --preview,
    asks for the rest alone. The passages are sent to the endpoints.

    \b
    Example:
      adapters data synth handbook/ --generator http://localhost:8000/v1#base --preview
      adapters data synth handbook/ faq.html --generator http://localhost:8000/v1#base \\
        --judge https://api.openai.com/v1#gpt-4.1-mini --max-tokens 500000 --out handbook.jsonl
      adapters dataset add handbook handbook.jsonl --synthetic-from base
    """
    from adapterworks.builders.endpoints.endpoint import parse_endpoint
    from adapterworks.builders.endpoints.kept import kept_answers
    from adapterworks.builders.synthesis.passages import read_passages
    from adapterworks.builders.synthesis.run import Settings, synthesize

    if judge is None and judge_key_env is not None:
        raise InvalidInput("`--judge-key-env` is one of `--judge`", hint="name the judge, too")
    writes = parse_endpoint(generator, os.environ, key_env)
    judges = None if judge is None else parse_endpoint(judge, os.environ, judge_key_env)
    passages = read_passages(docs)
    hosts = " and ".join(dict.fromkeys(one.host for one in (writes, judges) if one is not None))
    app.note(f"{len(passages)} passages; they are sent to {hosts}")
    with kept_answers(app.settings.home / "cache" / "endpoints" / "synth.jsonl") as kept:
        made = synthesize(
            passages,
            writes,
            judges,
            Settings(max_tokens, per_passage, novelty, min_score, parallel),
            kept,
            most=_PREVIEW if preview else None,
            progress=partial(show_progress, "passages") if sys.stderr.isatty() else None,
        )
        told = _told(made, kept, len(passages))
    if not preview:
        write_lines(out, map(_line, made.rows))
    if as_json:
        rows = [_line(row) for row in made.rows] if preview else str(out)
        printing.echo_json(told | {"rows" if preview else "file": rows})
        return
    for row in made.rows if preview else ():
        click.echo(f"{printing.harmless(row.question)}\n  → {printing.harmless(row.answer)}")
        page = f", page {row.meta['page']}" if "page" in row.meta else ""
        click.echo(f"  {row.meta['document']}{page}: “{printing.harmless(row.meta['evidence'])}”\n")
    out_of = ", ".join(f"{count} by {name}" for name, count in told["left_out"].items() if count)
    click.echo(
        f"{told['kept']} rows from {told['passages']} of {len(passages)} passages, "
        f"{told['tokens']} tokens, {told['asked']} requests sent; left out: {out_of or 'none'}, "
        f"{told['unread']} answers unread"
    )
    if made.spent:
        app.note(f"the budget of {max_tokens} tokens ended it: raise it with --max-tokens")
    if not preview:
        click.echo(str(out))


def _told(made: Made, kept: KeptAnswers, passages: int) -> dict[str, Any]:
    return {
        "kept": len(made.rows),
        "passages": made.passages,
        "of": passages,
        "tokens": made.tokens,
        "asked": kept.asked,
        "sent_tokens": kept.sent_tokens,
        "unread": made.unread,
        "left_out": made.left_out,
        "spent": made.spent,
    }


def _line(row: Row) -> dict[str, Any]:
    return {"messages": list(row.messages), **row.meta}
