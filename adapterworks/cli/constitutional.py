"""`adapters data constitutional`: pairs of answers, preferred by a model under a constitution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import made_rows_options, printing
from adapterworks.cli.values import Real

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.synthesis.making import Made

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
    help="TOML file of principles, or the name of a built-in one.",
)
@made_rows_options.options(
    "--model",
    writes="The model that answers, critiques and revises.",
    judges="The model that prefers one of two answers (default: --model).",
    out="preferences.jsonl",
    max_tokens=500_000,
    previewed=_PREVIEW,
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    help="Revisions per answer, each under another principle.",
)
@click.option("--answer-tokens", type=click.IntRange(1, 8192), default=512, show_default=True)
@click.option("--temperature", type=Real(0, 2), default=0.7, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.pass_obj
def command(
    app: App,
    /,
    prompts: tuple[Path, ...],
    source: str,
    writer: str,
    rounds: int,
    answer_tokens: int,
    temperature: float,
    seed: int,
    **shared: Any,
) -> None:
    """Generate preference pairs: a model revises its answers by a constitution.

    PROMPTS are files of rows with `prompt` or `messages`. Each prompt is answered, the answer is
    critiqued and revised under a principle, and the judge sees both in both orders; if it
    contradicts itself, there is no row. Each row has the principle, the critique, the models that
    answered and judged, and digests of constitution and prompts. Answers of an endpoint are saved
    as they arrive: an interrupted run, or one after --preview, only asks for the rest. Prompts and
    answers are sent to the endpoints.

    \b
    Example:
      adapters data constitutional prompts.jsonl --model http://localhost:8000/v1#base --preview
      adapters data constitutional prompts.jsonl --constitution house.toml \\
        --model http://localhost:8000/v1#base --judge https://api.openai.com/v1#gpt-4.1-mini \\
        --max-tokens 2000000 --out preferences.jsonl
      adapters data gates align.toml
    """
    from adapterworks.builders.synthesis.constitution import read_constitution
    from adapterworks.builders.synthesis.questions import read_prompts
    from adapterworks.builders.synthesis.strategies.constitutional import Constitutional, Settings

    constitution = read_constitution(source)
    asked = made_rows_options.read_options(app, writer, "constitutional", _PREVIEW, shared)
    found = read_prompts(prompts)
    app.note(f"{len(found)} prompts; they and their answers are sent to {asked.hosts}")
    settings = Settings(rounds, answer_tokens, temperature, seed)
    asked.run(
        Constitutional(constitution, settings, asked.parallel),
        found,
        what="prompts",
        count=len(found),
        line=_line,
        show=_show,
        more=lambda made: {
            "kept_first": _kept_first(made),
            "constitution": constitution.digest,
        },
    )


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


def _kept_first(made: Made) -> int:
    """Rows in which the first answer is the better one."""
    from adapterworks.builders.synthesis.strategies.constitutional import FIRST

    return sum(row.meta["chosen_is"] == FIRST for row in made.rows)


def _line(row: Row) -> dict[str, Any]:
    """As `data.format = "preference"` reads it."""
    (rejected,) = row.others
    return {
        "prompt": list(row.context),
        "chosen": row.answer,
        "rejected": rejected[-1]["content"],
        **row.meta,
    }
