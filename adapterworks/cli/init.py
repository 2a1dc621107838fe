"""`adapters init`: a file of rows → a manifest that can be built, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.values import WrittenFile
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
    help="Your data: .csv, .tsv, .json, .jsonl, .xlsx or .parquet.",
)
@click.option("--question", metavar="COLUMN", help="The column with the question.")
@click.option("--answer", metavar="COLUMN", help="The column with the expected answer.")
@click.option("--format", help="The format of the rows (see `adapters formats`).")
@click.option("--base", default="smollm2-135m-instruct", show_default=True, help="The base model.")
@click.option(
    "--quantization",
    type=click.Choice(["nf4", "none"]),
    default="nf4",
    show_default=True,
    help="Quantization of the base's weights.",
)
@click.option(
    "--to",
    metavar="FILE",
    type=WrittenFile(makes=True, suffixes=(".toml",)),
    help="  [default: manifests/NAME.toml]",
)
@click.option("--yes", is_flag=True, help="Do not ask: take the most likely choice.")
@click.option("--force", is_flag=True, help="Overwrite the files of an earlier run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; asks nothing.")
@click.pass_obj
def command(
    app: App,
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
    """Write a manifest for a file of your data.

    Inspects the file, infers format, columns, language and task, asks about what it cannot infer,
    and writes manifests/NAME.toml with the reason for each choice. Nothing is trained.

    \b
    Example:
      adapters init tickets --from tickets.csv
      adapters init faq --from 知识库.xlsx --question 问题 --answer 答案 --yes
    """
    from adapterworks.drafting.look import look
    from adapterworks.drafting.write import Draft
    from adapterworks.manifests.document import require_own_folder
    from adapterworks.manifests.faults import ManifestError
    from adapterworks.manifests.load import inspect_manifest
    from adapterworks.manifests.refs import parse_ref

    if parse_ref(name).name != name:
        raise InvalidInput(f"`{name}` is not a name of an adapter", hint="leave out `@` and `:`")
    if to is None:
        require_own_folder(FOLDER)
    target = to or FOLDER / f"{name}.toml"
    _require_free([target], source, force=force)
    model = _base(app, base, quantization, target.parent)
    chosen = {k: v for k, v in (("question", question), ("answer", answer)) if v is not None}
    seen = look(source, chosen=chosen, format=format)
    while seen.doubts and not (yes or as_json):
        doubt = seen.doubts[0]
        said = _ask(doubt)
        format = said if doubt.key == "format" else format
        chosen |= {} if doubt.key == "format" else {doubt.key: said}
        seen = look(source, chosen=chosen, format=format)
    called = name if target == FOLDER / f"{name}.toml" else shlex.quote(str(target))
    text, files = _written(seen, Draft(name, model, quantization, called), target)
    _require_free(files, source, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, lines in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines, encoding="utf-8")
    target.write_text(text, encoding="utf-8")
    faults = inspect_manifest(target).faults
    if as_json:
        printing.echo_json(_json(seen, name, target, called))
    else:
        _show(app, seen, name, target, called)
    if faults:  # the manifest is there to be edited
        raise ManifestError(called, faults)


def _require_free(paths: Iterable[Path], source: Path, *, force: bool) -> None:
    """See that nothing of the user's is written over.

    Raises:
        InvalidInput: one of the paths is the file of the rows itself.
        Conflict: one is there, and may not be written over.
    """
    for path in paths:
        if path.exists() and source.exists() and path.samefile(source):
            raise InvalidInput(
                f"`{path}` is the file of the rows itself, and would be written over",
                hint="move the rows elsewhere, or give the adapter another name",
            )
        if path.exists() and not force:
            raise Conflict(
                f"`{path}` is there already",
                hint="`--force` overwrites it; `--to` writes to another file",
            )


def _base(app: App, base: str, quantization: str, folder: Path) -> str:
    """The base as a manifest in a folder names it.

    Raises:
        NotFound, InvalidInput: there is no such base.
    """
    from adapterworks.drafting.write import relative
    from adapterworks.manifests.homes import expanded
    from adapterworks.manifests.sources import FileSource, parse_base

    if not isinstance(parse_base(base), FileSource):
        app.bases.prepared(base, quantization=quantization)
        return base
    place = expanded(base)
    app.bases.prepared(str(place.resolve()), quantization=quantization)
    if base.startswith("~") or place.is_absolute():
        return base
    model = relative(place, folder)
    return model if "/" in model else f"./{model}"


def _ask(doubt: Doubt) -> str:
    """Ask; without a terminal there is nobody to.

    Raises:
        InvalidInput: standard input is no terminal.
    """
    options = ", ".join(f"`{option}`" for option in doubt.options)
    if not printing.is_asked():
        raise InvalidInput(
            f"{doubt.asks} It may be {options}",
            hint=f"say `--{doubt.key} {shlex.quote(doubt.options[0])}`, or take what is likeliest "
            "with `--yes`",
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


def _commands(name: str, called: str) -> list[tuple[str, str]]:
    return [
        (f"adapters data inspect {called}", "rows as the model sees them"),
        (f"adapters try {called}", "twenty steps, five questions side by side"),
        (f"adapters build {called} --profile quick", "train, compare with the base, publish"),
        ("adapters serve --open", "an OpenAI-compatible gateway on this machine"),
        (f'adapters chat {name}:candidate "…"', "ask it"),
    ]


def _json(seen: Look, name: str, target: Path, called: str) -> dict[str, Any]:
    return {
        "manifest": str(target),
        "rows": seen.rows,
        "format": seen.format,
        "columns": dict(seen.columns),
        "task": seen.task,
        "labels": list(seen.labels),
        "language": seen.language,
        "without_answer": seen.silent,
        "sheets_not_read": list(seen.sheets[1:]),
        "guessed": [doubt.key for doubt in seen.doubts],
        "next": [command for command, _ in _commands(name, called)],
    }


def _show(app: App, seen: Look, name: str, target: Path, called: str) -> None:
    columns = ", ".join(f"{name} ← {column}" for name, column in seen.columns.items())
    click.echo(
        f"{seen.path.name}: {seen.rows} rows, format {seen.format}"
        + (f" ({columns})" if columns else "")
        + f", language {seen.language}"
    )
    if seen.labels:
        shown = ", ".join(seen.labels[:8]) + (", …" if len(seen.labels) > 8 else "")
        click.echo(f"{len(seen.labels)} different answers: {shown}")
    if seen.silent:
        app.note(
            f"{seen.silent} of {seen.rows} rows have no answer: `adapters build` refuses them; "
            "fill them in, or take them out"
        )
    if unread := seen.sheets[1:]:
        app.note(
            f"only the first sheet, `{seen.sheets[0]}`, is read, here and by builds; what is on "
            f"{', '.join(f'`{sheet}`' for sheet in unread)} is not"
        )
    for doubt in seen.doubts:
        app.note(f"guessed: {doubt.key} is `{doubt.options[0]}`")
    click.echo(f"wrote {target}")
    click.echo("next:")
    lines = _commands(name, called)
    width = max(len(command) for command, _ in lines)
    for line, why in lines:
        click.echo(f"  {line:<{width}}  # {why}")
