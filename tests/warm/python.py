"""`warm_python`: an executable that is called as Python is and starts in 50 ms with torch imported.

A training of the tiny base takes a second, but importing torch, transformers and PEFT takes eight.
What the product starts by `sys.executable` (a training, `accelerate launch`) and what tests start
themselves are processes of their own all the same: forked from one that has imported them. That the
product works with Python itself is shown by the tests that start it so: `test_users_folder.py`,
`test_build.py` (killed), `test_accelerate.py`, `test_processes.py`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

HERE = Path(__file__).parent
# As the session began: libraries read theirs once, whichever test starts the server.
_ENVIRONMENT = dict(os.environ)


@cache
def warm_python() -> str:
    """Start the server of this process; returns the executable's path."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    path = folder / "socket"
    server = subprocess.Popen(
        [sys.executable, "-P", HERE / "server.py", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=_ENVIRONMENT,
    )
    atexit.register(_stop, server, folder)
    executable = folder / "python"
    text = (HERE / "client.py").read_text(encoding="utf-8").replace("@SOCKET@", str(path))
    executable.write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
    executable.chmod(0o755)
    deadline = time.monotonic() + 300
    while not path.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("the warm server did not start")
        time.sleep(0.02)
    return str(executable)


@contextmanager
def warm() -> Iterator[None]:
    """What this process starts by `sys.executable` meanwhile is forked from the server."""
    with patch.object(sys, "executable", warm_python()):
        yield


def _stop(server: subprocess.Popen[bytes], folder: Path) -> None:
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(folder)
