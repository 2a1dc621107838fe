"""How a node runs a command for Ray's driver, without Ray: what it prints, and its end."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapterworks.workers.executors import ray_driver
from adapterworks.workers.executors.ray_driver import ASKED, Runner


def test_what_is_printed_comes_in_lines_and_then_the_code(tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd()); print('no', file=sys.stderr); sys.exit(3)"
    said = list(Runner().run(["python", "-u", "-c", program], str(tmp_path)))
    assert said == [f"{tmp_path}\n", "no\n", 3]


def test_one_that_is_given_up_ends_by_itself(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): pathlib.Path('given-back').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready')\n"
        "while True: time.sleep(0.05)\n"
    )
    runner = Runner()
    pieces = runner.run(["python", "-u", "-c", program], str(tmp_path))
    assert next(pieces) == "ready\n"
    runner.end()
    assert (tmp_path / "given-back").exists()
    assert list(pieces) == [0]


class Lost(Exception):
    """A node that died, as Ray says it."""


class Method:
    """A method of an actor's, asked from afar."""

    def __init__(self, answer: Any) -> None:
        self.remote = answer

    def options(self, **_: Any) -> Method:
        return self


class Nodes:
    """Ray as far as the driver asks it: what happens to it is written down in order."""

    def __init__(self, *pieces: str | int | Exception) -> None:
        self.pieces, self.happened = [*pieces], list[str | int]()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ray, exceptions = ModuleType("ray"), ModuleType("ray.exceptions")
        for name in ("ObjectLostError", "RayActorError", "WorkerCrashedError"):
            setattr(exceptions, name, Lost)
        ray.__dict__.update(init=lambda **_: None, remote=lambda _: self, get=self.get)
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        monkeypatch.setattr(signal, "alarm", self.alarm)

    def options(self, **_: Any) -> Nodes:
        return self

    def remote(self) -> Nodes:
        self.happened.append("asked for a node")
        return self

    def __getattr__(self, name: str) -> Method:
        if name == "__ray_ready__":
            return Method(lambda: "ready")
        assert name == "run"
        return Method(lambda *_: iter([*self.pieces]))

    def get(self, piece: Any) -> Any:
        if piece == "ready":
            self.happened.append("has a node")
        else:
            self.pieces.remove(piece)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def alarm(self, seconds: int) -> int:
        self.happened.append(seconds)
        return 40 if seconds == 0 else 0


def test_what_a_task_waits_for_a_node_is_none_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 seconds 40 are left when its node dies."""
    nodes = Nodes("up\n", Lost("its node died"), "up again\n", 0)
    nodes.install(monkeypatch)
    asked = {"command": ["true"], "folder": str(tmp_path), "resources": {}, "seconds": 100}
    monkeypatch.setenv(ASKED, json.dumps(asked))
    assert ray_driver.main() == 0
    first, second = ["asked for a node", "has a node", 100, 0], ["asked for a node", "has a node"]
    assert nodes.happened == [*first, *second, 40]
