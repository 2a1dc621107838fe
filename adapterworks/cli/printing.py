"""How registry commands print: tables for people, JSON for programs, always on stdout."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from click.core import ParameterSource

from adapterworks.errors import harmless as harmless
from adapterworks.manifests.errors import InvalidInput


def echo_json(value: Any) -> None:
    """Print a value (dataclasses and pydantic models too) as indented JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=plain)
    click.echo(
        text.encode("utf-8", "backslashreplace")
    )  # half a character: `\ud83d`, as JSON has it


def echo_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print an aligned table without lines; terminals fold cells, pipes get one line a row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", pad_edge=False, show_header=any(columns))
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    if sys.stdout.isatty():  # FORCE_COLOR makes rich believe that a pipe is one
        Console().print(table)
        return
    console = Console(width=10_000)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().rstrip("\n").split("\n"):
        click.echo(line.rstrip())


def is_asked() -> bool:
    """Whether somebody can be asked: standard input is open, and a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def standard_input() -> str:
    """All of standard input.

    Raises:
        InvalidInput: it is closed, or not UTF-8.
    """
    if sys.stdin is None:
        raise InvalidInput("`-` is standard input, which is closed here", hint="give it by a file")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"standard input is not text in UTF-8: {error}") from error


def echo_more(after: object) -> None:
    """Say on stderr how to get the next page: the command as it was typed, and where to go on."""
    note(f"more: {again(after=after)}")


def again(**changed: object) -> str:
    """The current command as it was typed, for a shell, with other values of some options."""
    context = click.get_current_context()
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name in changed or not typed or getattr(parameter, "hidden", False):
            continue
        value = context.params[name]
        several = value if isinstance(value, tuple | list) else (value,)
        for one in several:
            if isinstance(parameter, click.Argument):
                words.append(str(one))
            elif getattr(parameter, "is_flag", False):
                words.append(parameter.opts[0])
            else:
                words += [parameter.opts[0], str(one)]
    for name, value in changed.items():
        words += [f"--{name}", str(value)]
    return f"{context.command_path} {shlex.join(words)}"


def echo_moving(text: str, *, last: bool) -> None:
    """A line on stderr, for a terminal, that the next one replaces unless it is the last."""
    click.echo(f"\r\x1b[K{text}", nl=last, err=True)


def note(text: str, *, dim: bool = False) -> None:
    """Say something on stderr that nobody needs for going on: `-q` keeps it."""
    context = click.get_current_context(silent=True)
    app = context.find_root().obj if context is not None else None
    if not getattr(app, "quiet", False):
        click.secho(harmless(text), dim=dim or None, err=True)


def size(count: int) -> str:
    """Bytes for people: `12.3 MB` (powers of 1000)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def excerpt(text: str, limit: int) -> str:
    """A text on one line of at most `limit` characters, harmless to a terminal."""
    line = harmless(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def moment(at: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC; None of None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def rounded(value: object) -> object:
    """A number to three digits, for tables; anything else as it is."""
    return round(value, 3) if isinstance(value, float) else value


def when(stamp: str) -> str:
    """A timestamp to the second, for tables."""
    return stamp[:19].replace("T", " ")


def plain(value: Any) -> Any:
    """A dataclass or pydantic model as JSON's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.model_dump(mode="json")
