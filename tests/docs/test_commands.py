"""Every `adapters …` line of any page names a command and options that exist."""

from __future__ import annotations

import shlex

import click
import pytest

from adapterworks.cli.main import cli
from tests.docs.blocks import ROOT, absent, adapters_lines, shape

LINES = list(dict.fromkeys(adapters_lines()))


def test_there_are_many() -> None:
    assert len(LINES) > 150


def test_every_line_parses() -> None:
    """Up to the command's own work: names and values may be anything that its types take."""
    wrong = {}
    for page, line in LINES:
        try:
            check(words_of(line))
        except (AssertionError, ValueError, click.UsageError) as error:
            wrong[f"{page.relative_to(ROOT)}: {line}"] = error
    assert wrong == {}


def words_of(line: str) -> list[str]:
    """What the shell gives the first `adapters` of a line."""
    if ("|" in line and "'" not in line) or "…" in line.split()[1:2]:
        line = line.partition("|")[0]
    words = []
    for word in shlex.split(line.replace("<(", "(")):
        if word in ("&&", ";", "|", ">", "2>", "<"):
            break
        words.append(word)
    return words[1:]


def check(words: list[str]) -> None:
    command: click.Command = cli
    context = click.Context(cli, info_name="adapters")
    while isinstance(command, click.Group):
        while words and words[0].startswith("-"):
            words = words[1:]  # options of the group: -q, --help
        if not words:
            return
        if command.name == "import" and words[0] not in command.list_commands(context):
            words = ["adapter", *words]
        name, found, words = command.resolve_command(context, words)
        assert found is not None, f"there is no command `{name}`"
        command, context = found, click.Context(found, info_name=name, parent=context)
    if command.params:
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        for word in words:
            name = word.partition("=")[0]
            if name.startswith("--") and name != "--help":
                assert name in options, f"`{command.name}` has no option `{name}`"


def test_a_line_that_is_wrong_is_seen() -> None:
    for line in ("biuld medical", "build medical --alais x", "tenant ad acme"):
        with pytest.raises((AssertionError, click.UsageError)):
            check(line.split())


def test_output_is_compared_by_shape() -> None:
    printed = "step 1\npublished medical@1 (1a67f254f97b)\nalias medical:candidate → medical@1\n"
    wanted = ["published medical@7 (bdd8eabbfef3)", "…", "alias medical:candidate → medical@7"]
    assert absent(wanted, printed) == []
    assert absent([*reversed(wanted)], printed) == [wanted[0]]
    assert absent(["alias … → medical@1"], printed) == []
    assert absent(["published code@1 (1a67f254f97b)"], printed) != []
    assert shape("gain +91.9 points [+87.0, −2]") == shape("gain 3 points [1.5, 2e-05]")
    assert shape("2026-11-25 15:29:24  you") == shape("2026-12-01 05:00:00    you")
