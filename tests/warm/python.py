"""`warm_python`: an executable that is called as Python is and starts in 50 ms with torch imported.

A training of the tiny base takes a second, but importing torch, transformers and PEFT takes eight;
an engine starts three processes that import vLLM for eight seconds each, a gateway two seconds of
server and database. What the product starts by
`sys.executable` (a training, `accelerate launch`, an engine) and what tests start themselves are
processes of their own all the same: forked from one that has imported what they need. That the
product works with Python itself is shown by the tests that start it so: `cli/test_readme.py` (a
build and an engine), `test_users_folder.py`, `test_accelerate.py`.

All processes of a run of pytest-xdist share one server of each kind: it lives as long as one of
them holds the other end of its standard input.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Literal
from unittest.mock import patch

HERE = Path(__file__).parent
Kind = Literal["build", "engine", "gateway"]
# What is run with `-c` to be the command `adapters`.
COMMAND = "from adapterworks.cli.main import main; main()"
# As the session began: libraries read theirs once, whichever test starts the server.
_ENVIRONMENT = dict(os.environ)
_PYTHON = sys.executable


@cache
def warm_python(kind: Kind = "build") -> str:
    """Have the server run until this process ends; returns the executable's path."""
    folder = _folder() / kind
    executable = folder / "python"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_nlink == 0:
                continue  # the last server took it along
            if not _held(folder):
                _start(kind, folder)
                text = (HERE / "client.py").read_text(encoding="utf-8")
                text = text.replace("@SOCKET@", str(folder / "socket"))
                executable.write_text(f"#!{_PYTHON} -IS\n{text}", encoding="utf-8")
                executable.chmod(0o755)
            break
    return str(executable)


@contextmanager
def warm(kind: Kind = "build") -> Iterator[None]:
    """What this process starts by `sys.executable` meanwhile is forked from the server."""
    with patch.object(sys, "executable", warm_python(kind)):
        yield


@cache
def _folder() -> Path:
    """Where the processes of this run meet; short, since sockets lie in it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return Path(tempfile.mkdtemp(prefix="warm-"))
    return Path(tempfile.gettempdir(), f"warm-{run[:16]}")


def _held(folder: Path) -> bool:
    """Keep the server that is there alive until this process ends; whether there is one."""
    try:
        held = os.open(folder / "alive", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # nobody reads it, or it is not there yet
        return False
    if (folder / "socket").exists():
        return True
    os.close(held)
    return False


def _start(kind: Kind, folder: Path) -> None:
    from adapterworks.gateway.engines.cpu import cpu_environment

    (folder / "alive").unlink(missing_ok=True)
    os.mkfifo(folder / "alive")
    read = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
    environment = _ENVIRONMENT
    if kind == "engine":  # as its processes are started, which this one is to be like
        environment = {**cpu_environment(), **environment, "PYTHONSAFEPATH": "1"}
    # Not by `subprocess`, which would complain that it is still there when this process ends.
    server = os.posix_spawn(
        _PYTHON,
        [_PYTHON, "-P", str(HERE / "server.py"), kind, str(folder)],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, read, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ],
    )
    os.close(read)
    os.open(folder / "alive", os.O_WRONLY)  # ours, until this process ends
    deadline = time.monotonic() + 840
    while not (folder / "socket").exists():
        if os.waitpid(server, os.WNOHANG) != (0, 0) or time.monotonic() > deadline:
            raise AssertionError("the warm server did not start")
        time.sleep(0.02)
