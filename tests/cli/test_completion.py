"""Completion as people have it: a real bash at a terminal, a key pressed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.completion import complete_manifest, complete_name, complete_ref
from adapterworks.cli.main import cli
from tests.registry.releases import draft, folder
from tests.warm.python import COMMAND, warm_python


@pytest.fixture
def shelf(home: Path, tmp_path: Path) -> None:
    """`tickets` 1 and 2, of which `candidate` is the second."""
    app = App()
    for n in (1, 2):
        made = folder(tmp_path / f"{n}", n)
        app.registry.publish(made, draft(n, "tickets"), who="ann", alias="candidate")
    app.close()


class Bash:
    """A shell with the script, at a terminal; `typed` presses the key after what is typed.

    Args:
        here: the folder that it is in.
        commands: the folder that `adapters` is in.
    """

    def __init__(self, here: Path, commands: Path) -> None:
        script = here / "adapters.bash"
        script.write_text(CliRunner().invoke(cli, ["completion", "bash"]).stdout)
        self._master, there = pty.openpty()
        path = os.pathsep.join((str(commands), os.environ["PATH"]))
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=there, stdout=there, stderr=there, cwd=here, start_new_session=True,
            env={**os.environ, "PATH": path, "PS1": "", "TERM": "dumb", "INPUTRC": "/dev/null"},
        )  # fmt: skip
        os.close(there)
        self._send("stty -echo; bind 'set bell-style none'; bind 'set completion-query-items 0'\n")
        self._send(f"source {script}; echo re''ady\n")
        self._until("ready")

    def typed(self, text: str) -> str:
        """The line after the key, in the shell's own words."""
        # Ctrl-E ends it, Ctrl-A begins it: the line is printed instead of run.
        self._send(f"{text}\t\x05 '|e'\"nd\"\x01echo '|be'\"gin\" \n")
        return self._until("|end").rpartition("|begin ")[2].partition("|end")[0].strip()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _until(self, mark: str) -> str:
        said, deadline = "", time.monotonic() + 300
        while mark not in said:
            assert time.monotonic() < deadline, said
            if select.select([self._master], [], [], 1)[0]:
                said += os.read(self._master, 65536).decode(errors="replace")
        return said


@pytest.fixture
def here(shelf: None, tmp_path: Path) -> Path:
    """A folder with a manifest."""
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    here = tmp_path / "here"
    (here / "manifests").mkdir(parents=True)
    (here / "manifests" / "mine.toml").write_text("")
    return here


@pytest.fixture
def bash(here: Path, tmp_path: Path) -> Iterator[Bash]:
    """With a command that is forked from one that has imported what it needs."""
    command = tmp_path / "bin" / "adapters"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec {warm_python('gateway')} -P -c '{COMMAND}' \"$@\"\n")
    command.chmod(0o755)
    with contextlib.closing(Bash(here, command.parent)) as shell:
        yield shell


def test_bash_asks_the_installed_command(here: Path) -> None:
    with contextlib.closing(Bash(here, Path(sys.executable).parent)) as shell:
        assert shell.typed("adapters show tickets:ca") == "adapters show tickets:candidate"


def test_bash_completes_what_has_its_own_breaks_in_it(bash: Bash) -> None:
    for typed, whole in (
        ("adapters show tickets:ca", "adapters show tickets:candidate"),
        ("adapters show tickets:", "adapters show tickets:candidate"),
        ("adapters chat tickets@", "adapters chat tickets@"),  # two of them: what is common
        ("adapters eval tickets@1 tickets:c", "adapters eval tickets@1 tickets:candidate"),
        ("adapters show tick", "adapters show tickets"),
        ("adapters export tickets@2", "adapters export tickets@2"),
        ("adapters eval tickets --manifest=min", "adapters eval tickets --manifest=mine"),
        ("adapters build min", "adapters build mine"),
        ("adapters build manif", "adapters build manifests/"),
        ("adapters comple", "adapters completion"),
        ("adapters show 'tick", "adapters show tickets"),
    ):
        assert bash.typed(typed) == whole


def test_every_manifest_and_release_that_a_command_takes_is_completed() -> None:
    """By the tree: what is called so, in any command."""
    wanted = {
        "manifest": complete_manifest,
        "manifests": complete_manifest,
        "--manifest": complete_manifest,
        "ref": complete_ref,
        "refs": complete_ref,
        "--against": complete_ref,
        "names": complete_name,
    }
    found = []
    for path, command in commands(cli, "adapters", click.Context(cli)):
        for parameter in command.params:
            complete = wanted.get(parameter.opts[0])
            if complete is None or getattr(parameter, "is_flag", False):
                continue
            if path == "adapters data synth":  # against rows, not a release
                continue
            assert parameter._custom_shell_complete is complete, (path, parameter.opts[0])
            found.append(path)
    assert len(found) > 20
    assert {"adapters chat", "adapters eval", "adapters build", "adapters validate"} <= {*found}


def commands(
    command: click.Command, path: str, context: click.Context
) -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from commands(child, f"{path} {name}", click.Context(child, parent=context))


def test_a_key_that_is_pressed_makes_no_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    context = click.Context(cli)
    assert complete_ref(context, click.Argument(["ref"]), "medical@") == []
    assert not (tmp_path / "home").exists()


def test_settings_that_are_wrong_complete_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERS_CHECKOUTS", "much")
    assert complete_ref(click.Context(cli), click.Argument(["ref"]), "t") == []


def test_a_script_of_an_older_version_still_completes(
    shelf: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from adapterworks.cli import main

    for name, value in (
        ("_ADAPTERS_COMPLETE", "bash_complete"),
        ("COMP_WORDS", "adapters\nshow\ntick"),
        ("COMP_CWORD", "2"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["adapters"])
    with pytest.raises(SystemExit):
        main._run()
    assert capsys.readouterr().out == "plain,tickets\n"
