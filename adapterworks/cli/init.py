"""`adapters init`: a file of rows → a manifest that can be built, and what to type next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.manifests.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from adapterworks.drafting.columns import Doubt
    from adapterworks.drafting.look import Look

FOLDER = Path("manifests")


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Your rows: .csv, .tsv, .json, .jsonl, .xlsx or .parquet.",
)
@click.option("--question", metavar="COLUMN", help="The column that holds what is asked.")
@click.option("--answer", metavar="COLUMN", help="The column that holds what is to be answered.")
@click.option("--format", help="How a row is to be read (see `adapters formats`).")
@click.option("--base", default="smollm2-135m-instruct", show_default=True, help="The base model.")
@click.option(
    "--quantization",
    type=click.Choice(["nf4", "none"]),
    default="nf4",
    show_default=True,
    help="How the base's weights are held.",
)
@click.option(
    "--to", metavar="FILE", type=click.Path(path_type=Path), help="  [default: manifests/NAME.toml]"
)
@click.option("--yes", is_flag=True, help="Ask nothing: take what is likeliest.")
@click.option("--force", is_flag=True, help="Write over a manifest that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; asks nothing.")
def command(
    name: str,
    source: Path,
    question: str | None,
    answer: str | None,
    format: str | None,
    base: str,
    quantization: str,
    to: Path | None,
    yes: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a manifest from a file of rows.

    Looks at the file, guesses format, columns, language and task, asks what it cannot know, and
    writes manifests/NAME.toml with a reason beside each choice. Nothing is trained.

    \b
    Example:
      adapters init tickets --from tickets.csv
      adapters init faq --from 知识库.xlsx --question 问题 --answer 答案 --yes
    """
    from adapterworks.cli.printing import echo_json
    from adapterworks.drafting.look import look
    from adapterworks.drafting.write import Draft
    from adapterworks.manifests.load import inspect_manifest
    from adapterworks.manifests.refs import parse_ref

    if parse_ref(name).name != name:
        raise InvalidInput(f"`{name}` is not a name of an adapter", hint="leave out `@` and `:`")
    target = to or FOLDER / f"{name}.toml"
    if target.exists() and not force:
        raise Conflict(f"`{target}` is there already", hint="`--force` writes over it, or `--to`")
    chosen = {k: v for k, v in (("question", question), ("answer", answer)) if v is not None}
    seen = look(source, chosen=chosen, format=format)
    if seen.doubts and not (yes or as_json):
        chosen |= {doubt.key: _ask(doubt) for doubt in seen.doubts}
        seen = look(source, chosen=chosen, format=format)
    text, files = _written(seen, Draft(name, base, quantization), target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, lines in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines, encoding="utf-8")
    target.write_text(text, encoding="utf-8")
    faults = inspect_manifest(target).faults
    called = name if target == FOLDER / f"{name}.toml" else str(target)
    if as_json:
        echo_json(_json(seen, target, called))
    else:
        _show(seen, target, called)
    for fault in faults:  # a base that is not known, say; the manifest is there to be edited
        click.secho(str(fault), fg="red", err=True)


def _ask(doubt: Doubt) -> str:
    """Ask; without a terminal there is nobody to.

    Raises:
        InvalidInput: standard input is no terminal.
    """
    options = ", ".join(f"`{option}`" for option in doubt.options)
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"{doubt.asks} It may be {options}",
            hint=f"say `--{doubt.key} {doubt.options[0]}`, or take what is likeliest with `--yes`",
        )
    answer: str = click.prompt(
        doubt.asks, type=click.Choice(doubt.options), default=doubt.options[0], err=True
    )
    return answer


def _written(seen: Look, draft: Any, target: Path) -> tuple[str, dict[Path, str]]:
    """The manifest's text, and the files of rows that it names and that are not there yet."""
    from adapterworks.drafting.parts import parts
    from adapterworks.drafting.write import manifest_text, relative

    folder = target.parent
    named = {"train": seen.path}
    files: dict[Path, str] = {}
    if seen.split_by is not None:
        for split, lines in parts(seen.path, seen.split_by).items():
            named[split] = folder / f"{draft.name}-{split}.jsonl"
            files[named[split]] = lines
    else:
        named |= {"test": seen.test} if seen.test else {}
        named |= {"validation": seen.validation} if seen.validation else {}
    sources = {split: relative(path, folder) for split, path in named.items()}
    return manifest_text(seen, draft, folder, sources), files


def _commands(called: str) -> list[tuple[str, str]]:
    name = Path(called).stem
    return [
        (f"adapters data inspect {called}", "rows as the model sees them"),
        (f"adapters try {called}", "twenty steps, five questions side by side"),
        (f"adapters build {called} --profile quick", "train, compare with the base, publish"),
        ("adapters serve --open", "an OpenAI-compatible gateway on this machine"),
        (f'adapters chat {name}:candidate "…"', "ask it"),
    ]


def _json(seen: Look, target: Path, called: str) -> dict[str, Any]:
    return {
        "manifest": str(target),
        "rows": seen.rows,
        "format": seen.format,
        "columns": dict(seen.columns),
        "task": seen.task,
        "labels": list(seen.labels),
        "language": seen.language,
        "guessed": [doubt.key for doubt in seen.doubts],
        "next": [command for command, _ in _commands(called)],
    }


def _show(seen: Look, target: Path, called: str) -> None:
    columns = ", ".join(f"{name} ← {column}" for name, column in seen.columns.items())
    click.echo(
        f"{seen.path.name}: {seen.rows} rows, format {seen.format}"
        + (f" ({columns})" if columns else "")
        + f", language {seen.language}"
    )
    if seen.labels:
        shown = ", ".join(seen.labels[:8]) + (", …" if len(seen.labels) > 8 else "")
        click.echo(f"{len(seen.labels)} different answers: {shown}")
    for doubt in seen.doubts:
        click.echo(f"guessed: {doubt.key} is `{doubt.options[0]}`", err=True)
    click.echo(f"wrote {target}")
    click.echo("next:")
    lines = _commands(called)
    width = max(len(command) for command, _ in lines)
    for line, why in lines:
        click.echo(f"  {line:<{width}}  # {why}")
