"""`adapters data constitutional`: pairs of answers, preferred by a model under a constitution."""

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
    from adapterworks.builders.synthesis.constitutional import Pairs

_PREVIEW = 5


@click.command("constitutional")
@click.argument(
    "prompts", nargs=-1, required=True, metavar="PROMPTS…", type=click.Path(path_type=Path)
)
@click.option(
    "--constitution",
    "source",
    default="careful",
    show_default=True,
    metavar="FILE",
    help="TOML file of principles, or the name of one that comes along.",
)
@click.option("--model", required=True, metavar="URL#MODEL", help="Answers, criticises, revises.")
@click.option("--judge", metavar="URL#MODEL", help="Prefers one of two answers, if not --model.")
@click.option("--key-env", metavar="NAME", help="Environment variable with the model's key.")
@click.option("--judge-key-env", metavar="NAME", help="The same, of --judge.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("preferences.jsonl"),
    show_default=True,
    help="JSONL file of the rows.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=500_000,
    show_default=True,
    help="Budget of prompts and answers, both models'.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    help="Revisions of an answer, each under another principle.",
)
@click.option("--answer-tokens", type=click.IntRange(1, 8192), default=512, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 2), default=0.7, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--preview", is_flag=True, help="Show five rows and what they cost; write no file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    prompts: tuple[Path, ...],
    source: str,
    model: str,
    judge: str | None,
    key_env: str | None,
    judge_key_env: str | None,
    out: Path,
    max_tokens: int,
    rounds: int,
    answer_tokens: int,
    temperature: float,
    seed: int,
    parallel: int,
    preview: bool,
    as_json: bool,
) -> None:
    """Have a model criticise and mend its answers by a constitution, and prefer one of each pair.

    PROMPTS are files of rows with `prompt` or `messages`. Each prompt is answered, the answer is
    criticised and revised under a principle, and the judge is shown both in both orders; where it
    contradicts itself there is no row. Every row has the principle, the critique, who answered and
    judged, and digests of constitution and prompts. What an endpoint answered is kept as it
    arrives: a run that was ended, or comes after --preview, asks for the rest alone. Prompts and
    answers are sent to the endpoints.

    \b
    Example:
      adapters data constitutional prompts.jsonl --model http://localhost:8000/v1#base --preview
      adapters data constitutional prompts.jsonl --constitution house.toml \\
        --model http://localhost:8000/v1#base --judge https://api.openai.com/v1#gpt-4.1-mini \\
        --max-tokens 2000000 --out preferences.jsonl
      adapters data gates align.toml
    """
    from adapterworks.builders.endpoints.endpoint import parse_endpoint
    from adapterworks.builders.endpoints.kept import kept_answers
    from adapterworks.builders.synthesis.constitution import read_constitution
    from adapterworks.builders.synthesis.constitutional import Settings, constitute
    from adapterworks.builders.synthesis.questions import read_prompts

    if judge is None and judge_key_env is not None:
        raise InvalidInput("`--judge-key-env` is one of `--judge`", hint="name the judge, too")
    constitution = read_constitution(source)
    answers = parse_endpoint(model, os.environ, key_env)
    judges = answers if judge is None else parse_endpoint(judge, os.environ, judge_key_env)
    asked = read_prompts(prompts)
    hosts = " and ".join(dict.fromkeys(one.host for one in (answers, judges)))
    app.note(f"{len(asked)} prompts; they and their answers are sent to {hosts}")
    with kept_answers(app.settings.home / "cache" / "endpoints" / "constitutional.jsonl") as kept:
        made = constitute(
            asked,
            constitution,
            answers,
            judges,
            Settings(max_tokens, rounds, answer_tokens, temperature, seed, parallel),
            kept,
            most=_PREVIEW if preview else None,
            progress=partial(show_progress, "prompts") if sys.stderr.isatty() else None,
        )
        told = _told(made, kept, len(asked)) | {"constitution": constitution.digest}
    if not preview:
        write_lines(out, map(_line, made.rows))
    if as_json:
        rows = [_line(row) for row in made.rows] if preview else str(out)
        printing.echo_json(told | {"rows" if preview else "file": rows})
        return
    for row in made.rows if preview else ():
        _show(row)
    reasons = ", ".join(f"{count} {name}" for name, count in told["left_out"].items() if count)
    click.echo(
        f"{told['kept']} rows from {told['prompts']} of {len(asked)} prompts "
        f"({told['kept_first']} prefer the first answer), {told['tokens']} tokens, "
        f"{told['asked']} requests sent; left out: {reasons or 'none'}"
    )
    if made.spent:
        app.note(f"the budget of {max_tokens} tokens ended it: raise it with --max-tokens")
    if not preview:
        click.echo(str(out))


def _show(row: Row) -> None:
    """A row as a person reads it."""
    parts = [
        ("", row.question),
        ("worse: ", str(row.others[0][-1]["content"])),
        ("better: ", row.answer),
        ("principle: ", ", ".join(row.meta["principle"])),
        ("critique: ", " / ".join(row.meta["critique"])),
    ]
    for title, text in parts:
        click.echo(f"{'  ' if title else ''}{title}{printing.harmless(text)}")
    click.echo()


def _told(made: Pairs, kept: KeptAnswers, prompts: int) -> dict[str, Any]:
    return {
        "kept": len(made.rows),
        "prompts": made.prompts,
        "of": prompts,
        "kept_first": made.kept_first,
        "tokens": made.tokens,
        "asked": kept.asked,
        "sent_tokens": kept.sent_tokens,
        "left_out": made.left_out,
        "spent": made.spent,
    }


def _line(row: Row) -> dict[str, Any]:
    """As `data.format = "preference"` reads it."""
    (rejected,) = row.others
    return {
        "prompt": list(row.context),
        "chosen": row.answer,
        "rejected": rejected[-1]["content"],
        **row.meta,
    }
