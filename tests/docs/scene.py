"""One home in which the commands of pages are typed, one after the other, as a reader types them.

What differs saves time or reach only: builds get fewer rows and no gates, a gateway a free port,
the Hub is the loopback stand-in. A gateway that a page starts goes on for the pages after it, so
that one engine starts. The folder has files of the user's with our names and libraries'
(`registry.py`, `torch.py`): nothing that is started may run one.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from bench import apart
from tests.docs.blocks import Block, Command, absent, blocks
from tests.users_files import executed, plant

URL = "http://127.0.0.1:8080"
FEWER_ROWS = (
    "--set data.limit=32 --set data.limit_validation=8 --set data.limit_test=8 "
    "--set train.batch_size=8 --set evaluate.max_new_tokens=4 --set train.epochs=1"
)
# Of these the model decides what is printed; that something is, is compared.
_ANSWERS = ("adapters chat", "adapters try", "adapters samples", "python ")
_MODEL = {
    "adapters build": f"{FEWER_ROWS} --set evaluate.gates=[]",
    "adapters apply": "",
    "adapters eval": "--limit 8",
}


class Scene:
    """A folder, a home and at most one gateway.

    Args:
        folder: an empty one.
        environment: that of the commands.
        quick: builds get fewer rows.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, quick: bool = True) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.quick = quick
        self.url = URL
        self._here = folder
        self._servers: list[subprocess.Popen[str]] = []
        plant(folder)

    def page(self, page: Path) -> None:
        """Do what a page says, and compare what is printed with what it shows."""
        for block in blocks(page):
            self.block(block)

    def block(self, block: Block) -> None:
        """Do what one block says."""
        if block.title:
            target = self._here / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self._python(block.text)
        for command in block.commands() if block.language == "console" else ():
            self.command(command)

    def command(self, command: Command) -> str:
        """Type one command; returns what it prints on both outputs."""
        line = command.text.replace(URL, self.url)
        if line.startswith("make "):
            return ""
        if line.startswith("adapters serve"):
            self._serve(line)
            return ""
        if line.startswith(("adapters push", "adapters pull")):
            # The Hub's client reads its variables when it is imported, which a warm one has been.
            line = line.replace("adapters", "adapters-itself", 1)
        if line.startswith("adapters worker"):
            self._begin(line)
            return ""
        if self.quick:
            verb = " ".join(line.split()[:2])
            line = f"{line} {_MODEL.get(verb, '')}".strip()
        done, printed = self._run(line)
        assert done == 0 or f"exit code {done}" in "\n".join(command.expected), (
            f"$ {line}\n{printed}"
        )
        if command.text.startswith(_ANSWERS):
            assert printed.strip() or not command.expected, f"$ {line}\nprinted nothing"
            return printed
        expected = [line for line in command.expected if not line.startswith("exit code")]
        missing = absent(expected, printed)
        assert not missing, f"$ {line}\nprinted\n{printed}\nand not\n" + "\n".join(missing)
        return printed

    def _run(self, line: str) -> tuple[int, str]:
        """In a shell of its own that begins where and as the last one ended."""
        state = self.folder / ".state"
        script = f"{line}\nrc=$?\n{{ pwd; env -0; }} >{shlex.quote(str(state))}\nexit $rc"
        done = subprocess.run(
            ["bash", "-c", script],
            env=self.environment,
            cwd=self._here,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        if state.exists():
            here, _, variables = state.read_text(encoding="utf-8").partition("\n")
            self._here = Path(here)
            pairs = (pair.partition("=") for pair in variables.split("\0") if pair)
            self.environment = {name: value for name, _, value in pairs if name != "_"}
            state.unlink()
        return done.returncode, done.stdout

    def _python(self, text: str) -> None:
        program = self.folder / ".program.py"
        program.write_text(text.replace(URL, self.url), encoding="utf-8")
        code, printed = self._run(f"python -P {shlex.quote(str(program))}")
        assert code == 0, printed

    def _begin(self, line: str) -> subprocess.Popen[str]:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            env=self.environment,
            cwd=self._here,
            start_new_session=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._servers.append(server)
        return server

    def _serve(self, line: str) -> None:
        if self.url != URL and "--config" not in line:
            return  # it goes on from an earlier page
        line = re.sub(r" --port \d+", "", line).replace("adapters", "adapters-itself", 1)
        server = self._begin(f"{line} --port 0")
        assert server.stdout is not None
        self.url = server.stdout.readline().strip()
        self.environment["ADAPTERS_URL"] = self.url
        _wait(f"{self.url}/ready", server)

    def close(self) -> None:
        """End what was begun, and look whether a file of the user's was executed."""
        for server in self._servers:
            server.send_signal(signal.SIGTERM)
        for server in self._servers:
            server.wait()
            assert server.stdout is not None
            server.stdout.close()
        assert executed(self.folder) == []


def _wait(url: str, server: subprocess.Popen[str]) -> None:
    """Until it is ready or has ended: a slow machine is waited for."""
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                if response.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"the gateway ended with {server.returncode}")


def environment(home: Path, python: str, **more: str) -> dict[str, str]:
    """Of a reader whose `adapters` and `python` are this one.

    Args:
        home: a folder for ADAPTERS_HOME, and the commands' own.
        python: the executable that `adapters` is started with; a gateway, whose engine is vLLM,
            and programs are run by this Python itself.
    """
    shims = home / "bin"
    shims.mkdir(parents=True)
    code = "from adapterworks.cli.main import main; main()"
    for name, text in (
        ("adapters", f"exec {shlex.quote(python)} -P -c '{code}' \"$@\""),
        ("adapters-itself", f"exec {shlex.quote(sys.executable)} -P -c '{code}' \"$@\""),
        ("python", f'exec {shlex.quote(sys.executable)} "$@"'),
    ):
        (shims / name).write_text(f"#!/bin/sh\n{text}\n")
        (shims / name).chmod(0o755)
    own = {"PATH": f"{shims}:{os.environ['PATH']}", "ADAPTERS_USER": "you", "COLUMNS": "120"}
    return apart.environment(home / "home", **{**own, **more})
