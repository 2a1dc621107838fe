"""The command tree: fast to start, every command there, helpful and documented."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from adapterworks.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = Path(sys.executable).with_name("adapters")


def test_help_imports_nothing_heavy() -> None:
    """Under 300 ms is measured by `make bench`; what makes it so is that nothing is imported."""
    code = (
        "import sys; from click.testing import CliRunner; from adapterworks.cli.main import cli;"
        "result = CliRunner().invoke(cli, ['--help']); assert result.exit_code == 0, result.output;"
        "heavy = {'torch', 'transformers', 'sqlalchemy', 'pydantic', 'rich', 'vllm', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_an_example(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    text = command.help or ""
    assert text.partition("\n")[0] == COMMANDS[name][1]
    assert "Example:" in text


# What runs until it is stopped, speaks with a person, or prints a program or JSON by itself.
NO_JSON = {
    *("schema", "completion", "feedback export"),
    *("worker", "serve", "registry serve"),
    "review ask",
}


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


def test_every_command_can_print_json() -> None:
    without = {
        path
        for path, command in commands(cli)
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == NO_JSON


def test_help_pages_are_up_to_date() -> None:
    # In a process of its own: click keeps the help option that a command was first used with.
    made = subprocess.run(
        [sys.executable, "-m", "adapterworks.cli.pages"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert (ROOT / "docs" / "reference" / "cli.md").read_text() == made.stdout, (
        "run `python -m adapterworks.cli.pages > docs/reference/cli.md`"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nope"], 2, "no such command"),
        (["base", "show", "nope"], 3, "error: no base `nope`"),
        (["base", "add", "UPPER", "/tmp"], 2, "not a base name"),
        (
            ["base", "add", "x", "org/name"],
            2,
            "hint: a model of the Hub is written `hub:org/name@main`",
        ),
    ],
)
def test_errors_are_short_with_a_hint_and_an_exit_code(
    home: Path, arguments: list[str], code: int, words: str
) -> None:
    result = subprocess.run([ADAPTERS, *arguments], capture_output=True, text=True)
    assert result.returncode == code
    assert words in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
