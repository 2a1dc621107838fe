"""What options name is looked at before anything is done; what would change nothing is refused."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli import printing, values
from adapterworks.cli.main import cli
from adapterworks.cli.option_rules import given
from adapterworks.manifests.errors import InvalidInput
from tests.cli.test_completion import commands

# Files and folders that are read, or that registries make by themselves.
_READ = {
    "adapters apply folder", "adapters build --all", "adapters data constitutional prompts",
    "adapters eval --with-retrieval", "adapters export --base",
    "adapters init --from", "adapters rebase --manifests", "adapters registry restore file",
    "adapters registry serve --config", "adapters registry settings file",
    "adapters serve --config", "adapters status folder", "adapters webhook test --config",
}  # fmt: skip


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """`adapters build --alias` and its parameter, of every command."""
    for path, command in commands(cli, "adapters", click.Context(cli)):
        for parameter in command.params:
            yield f"{path} {parameter.opts[0]}", parameter


ALL = dict(parameters())


def fails(*arguments: str) -> InvalidInput:
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert isinstance(result.exception, InvalidInput), (arguments, result.exception, result.output)
    return result.exception


def test_every_path_that_is_written_is_looked_at_first() -> None:
    paths = {name: p.type for name, p in ALL.items() if isinstance(p.type, click.Path)}
    unknown = {
        name
        for name, kind in paths.items()
        if not kind.exists and not isinstance(kind, values.WrittenFile | values.WrittenFolder)
    }
    assert unknown == _READ


def test_every_alias_and_name_that_is_made_is_looked_at_first() -> None:
    for name, parameter in ALL.items():
        if name.endswith((" --alias", " --as", " --dataset")) or name == "adapters merge --name":
            if name.startswith("adapters import") and "adapter" not in name.split()[2]:
                continue  # the name of a manifest, which is written at once
            assert parameter.type in (values.ALIAS, values.NAME), name


def test_every_number_has_a_largest_one() -> None:
    """A number beyond 64 bits is refused by the command line, not by a database."""
    endless = [
        name
        for name, parameter in ALL.items()
        if isinstance(parameter.type, click.types.IntParamType)
        and getattr(parameter.type, "max", None) is None
    ]
    assert endless == []


@pytest.mark.parametrize(
    "line",
    [
        "search --after 99999999999999999999999",
        "tenant log --after 99999999999999999999999",
        "promote --approve 99999999999999999999999",
        "registry audit --after 99999999999999999999999",
        "data inspect medical --rows -1",
        "review start a@1 b@1 --seed -1",
        "tenant key add acme --expires 99999999999999d",
        "tenant add acme --allow x --rpm 99999999999999999999999",
    ],
)
def test_numbers_that_nothing_has_are_named(home: Path, line: str) -> None:
    result = CliRunner().invoke(cli, line.split())
    assert result.exit_code == 2, result.exception
    assert "Error: Invalid value for" in result.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "eval medical --predictions no/such/p.jsonl",
            "`--predictions`: the folder `no/such` is not",
        ),
        ("compare --methods lora --manifest medical --plot scores.foo", "ends in none of .png"),
        ("compare --methods lora --manifest medical --plot file/x.png", "`file` is no folder"),
        ("watch medical:prod --metrics gone/m.prom", "the folder `gone` is not there"),
        ("sign medical --key file --bundle gone/m.sig", "the folder `gone` is not there"),
        ("export medical --to gguf --out file/x.gguf", "`file` is no folder"),
        ("dataset export medical file/rows", "`file` is no folder"),
        ("data synth docs --generator http://h#m --out file/x.jsonl", "`file` is no folder"),
        ("build medical --alias Prod!", "`Prod!` is not an alias"),
        ("merge a b --name x --alias 3", "`3` is not an alias"),
        ("merge a b --name X", "`X` is not an adapter name"),
        ("pull org/x@main --as Y", "`Y` is not an adapter name"),
        ("data from-failures medical --dataset N!", "`N!` is not an adapter name"),
    ],
)
def test_a_slip_of_the_pen_is_said_before_any_work(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(App, "registry", property(lambda _: pytest.fail("work was begun")))
    assert words in fails(*shlex.split(line)).message


def test_a_file_that_may_not_be_written_is_said(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    said = fails("eval", "medical", "--predictions", str(tmp_path / "p.jsonl"))
    assert "may not be written to" in said.message


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("build medical --gpus 8", "--gpus"),
        ("build medical --cpus 8 --memory 4GB --hours 2", "--cpus --memory --hours"),
        ("build medical --detach --gpus 1", "--gpus"),
        ("build --all . --hours 2", "--hours"),
        ("build medical --priority 2", "--priority"),
        ("sweep medical --over train.epochs=1,2 --gpus 1", "--gpus"),
        ("sweep medical --over train.epochs=1,2 --parallel 2", "--parallel"),
        ("eval medical --passages 4", "--passages"),
        ("eval medical --with-retrieval d --price 1 2", "--price"),
        (
            "eval medical --with-retrieval d --key-env K --judge-key-env K",
            "--key-env --judge-key-env",
        ),
        ("eval medical --with-retrieval d --profile quick", "--profile"),
        ("eval medical b@1 --with-retrieval d --check", "OTHER --check"),
        ("promote --requests --why x", "--why"),
        ("promote --approve 3 --to prod --expect 2", "--expect --to"),
        ("jobs show ftjob-1 --manifest --json", "--json"),
        ("jobs show ftjob-1 --into x --json", "--json"),
        ("data gates medical --all --json", "--all"),
        ("dataset show medical --json --rows 2", "--rows"),
        ("data synth d --generator http://h#m --min-score 3", "--min-score"),
        ("data from-failures medical --from capture --pool x --each 2", "--pool --each"),
        ("watch medical:prod --max-shift 0.2", "--max-shift"),
        ("watch medical:prod --from inputs --max-drop 0.2", "--max-drop"),
        ("cp a@1 b --public", "--public"),
        ("cp a@1 registry:/x#b --withhold '*'", "--withhold"),
        ("cp a@1 hub:org/x --plain-http", "--plain-http"),
    ],
)
def test_options_that_would_change_nothing_are_refused(home: Path, line: str, names: str) -> None:
    said = fails(*shlex.split(line))
    listed = ", ".join(f"`{name}`" for name in names.split())
    assert said.message.startswith(f"{listed} would change nothing"), said.message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("promote medical@1 prod --to staging", "is it `prod` or `staging` that is to move?"),
        ("build medical --resume --force", "leave one out"),
        ("erase tenant:acme notes.txt --why x", "is erased whole"),
        ("verify ./clone --data-dir .", "against their record and a key"),
        ("promote medical@1 prod --expect ²", "not an adapter name"),
    ],
)
def test_what_contradicts_itself_is_refused(home: Path, line: str, words: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(line), standalone_mode=False)
    error: Any = result.exception
    if "--expect" in line:  # asked of the registry first
        assert not isinstance(error, ValueError)
        return
    assert isinstance(error, InvalidInput)
    assert words in f"{error.message} {error.hint}"


def test_what_was_typed_is_told_from_what_is_so_by_itself() -> None:
    @click.command("probe")
    @click.option("--one", default=1)
    @click.option("--flag/--no-flag", default=True)
    @click.argument("word", required=False)
    def probe(one: int, flag: bool, word: str | None) -> None:
        click.echo(" ".join(given(("one", "flag", "word"))))

    for line, found in (("", ""), ("--one 1", "--one"), ("--no-flag x", "--no-flag WORD")):
        assert CliRunner().invoke(probe, line.split()).stdout.strip() == found


def test_the_next_page_is_of_the_same_command() -> None:
    @click.command("probe")
    @click.argument("words", nargs=-1)
    @click.option("--state", "s", multiple=True)
    @click.option("--deleted", is_flag=True)
    @click.option("--limit", default=50)
    @click.option("--after")
    @click.option("--offset", hidden=True)
    def probe(**_: object) -> None:
        printing.echo_more(7)

    said = CliRunner().invoke(
        probe, ["a b", "c", "--state", "x", "--state", "y", "--deleted", "--after", "3"]
    )
    assert said.stderr == "more: probe 'a b' c --state x --state y --deleted --after 7\n"


def test_quiet_commands_say_only_what_went_wrong() -> None:
    """By the text: what is said on stderr goes by `note`, but for questions and what went wrong."""
    folder = Path(printing.__file__).parent
    loud = {
        (file.name, line.strip())
        for file in folder.glob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if "err=True" in line and "confirm(" not in line and "click.prompt(" not in line
    }
    assert sorted(name for name, _ in loud) == [
        "import_config.py", "init.py", "jobs.py", "login.py", "main.py", "printing.py",
        "printing.py", "push.py", "push.py", "review_shown.py",
    ]  # fmt: skip
