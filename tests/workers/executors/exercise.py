"""What every executor must do, by asking it: the protocol's one definition."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from adapterworks.manifests.errors import NotFound
from adapterworks.workers.executors.executor import Executor, State, Task

PATIENCE_S = 120.0


def task(folder: Path, name: str, program: str, **environment: str) -> Task:
    """A Python program as a task."""
    return Task(name, (sys.executable, "-u", "-c", program), environment, folder)


def until(executor: Executor, id: str, *states: State) -> State:
    """Wait for one of these states."""
    deadline = time.monotonic() + PATIENCE_S
    while (state := executor.status(id)) not in states:
        assert time.monotonic() < deadline, (state, executor.log(id))
        assert state in ("waiting", "running"), (state, executor.log(id))
        time.sleep(0.05)
    return state


def exercise(executor: Executor, folder: Path) -> None:
    """An end, a failure, a cancelled one that gives back what it has, and one that is unknown."""
    program = "import os, sys; print(os.environ['SAYS'], os.getcwd()); print('no', file=sys.stderr)"
    ended = executor.submit(task(folder, "ended", program, SAYS="hello"))
    failed = executor.submit(task(folder, "failed", "raise SystemExit(3)"))
    program = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): pathlib.Path('given-back').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready')\n"
        "while True: time.sleep(0.05)\n"
    )
    cancelled = executor.submit(task(folder, "cancelled", program))
    until(executor, ended, "ended")
    assert executor.log(ended).splitlines() == [f"hello {folder}", "no"]
    until(executor, failed, "failed")
    deadline = time.monotonic() + PATIENCE_S
    while "ready" not in executor.log(cancelled):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert executor.status(cancelled) == "running"
    assert isinstance(executor.why(cancelled), str)
    executor.cancel(cancelled)
    until(executor, cancelled, "cancelled")
    assert (folder / "given-back").exists()
    for id in (ended, cancelled):  # what has ended stays as it is
        before = executor.status(id)
        executor.cancel(id)
        assert executor.status(id) == before
    for ask in (executor.status, executor.why, executor.log, executor.cancel):
        with pytest.raises(NotFound):
            ask("1.never")
