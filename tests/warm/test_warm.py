"""The warm Python does what Python does: arguments, folder, path, files, exit code and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.warm.family import behind, family
from tests.warm.python import warm, warm_python


@pytest.fixture(params=["Python", "warm"])
def python(request: pytest.FixtureRequest) -> str:
    """The executable, cold or warm."""
    return sys.executable if request.param == "Python" else warm_python()


def run(python: str, *arguments: str, **given: object) -> tuple[int, str]:
    done = subprocess.run([python, *arguments], capture_output=True, text=True, **given)  # type: ignore[call-overload]
    return done.returncode, done.stdout


def test_arguments_folder_environment_and_input(python: str, tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv, os.getcwd(), os.environ['A'], sys.stdin.read())"
    environment = os.environ | {"A": "b"}
    said = run(python, "-c", code, "x", "-y", cwd=tmp_path, env=environment, input="hello")
    assert said == (0, f"['-c', 'x', '-y'] {tmp_path} b hello\n")


@pytest.mark.parametrize("safe", ["no", "flag", "variable"])
def test_where_modules_come_from(python: str, tmp_path: Path, safe: str) -> None:
    """The folder first, unless it is to be left off; then what PYTHONPATH says."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "of_the_test.py").write_text(f"print({name!r})")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "there")}
    environment |= {"PYTHONSAFEPATH": "1"} if safe == "variable" else {}
    flags = ["-P"] if safe == "flag" else []
    for command in (("-c", "import of_the_test"), ("-m", "of_the_test")):
        said = run(python, *flags, *command, cwd=tmp_path / "here", env=environment)
        assert said == (0, "here\n" if safe == "no" else "there\n")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 0),
        ("raise SystemExit(7)", 7),
        ("raise SystemExit('why')", 1),
        ("1 / 0", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import atexit; atexit.register(print, 'end')", 0),
    ],
)
def test_how_it_ends(python: str, code: str, status: int) -> None:
    assert run(python, "-c", code) == (status, "end\n" if "atexit" in code else "")


def test_an_open_file_is_inherited_and_closed_at_the_end(python: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    code = f"import os; os.write({write}, b'said')"
    done = subprocess.run([python, "-c", code], pass_fds=(write,))
    os.close(write)
    assert done.returncode == 0
    with os.fdopen(read, "rb") as file:
        assert file.read() == b"said"  # to its end: nobody else holds the other side


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_it_ends_the_command(python: str, number: signal.Signals) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen([python, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        command = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait() == -number
    deadline = time.monotonic() + 60
    while _alive(command):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_started_meanwhile_is_forked() -> None:
    code = "import sys; print('torch' in sys.modules)"
    with warm():
        assert run(sys.executable, "-P", "-c", code) == (0, "True\n")
    assert run(sys.executable, "-P", "-c", code) == (0, "False\n")


SPAWNING = """
import multiprocessing, sys

def told():
    print("torch" in sys.modules)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=told)
    process.start()
    process.join()
"""


def test_what_it_spawns_is_forked_too(tmp_path: Path) -> None:
    (tmp_path / "spawning.py").write_text(SPAWNING)
    where = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path)}}
    assert run(warm_python(), "-m", "spawning", **where) == (0, "True\n")
    assert run(sys.executable, "-m", "spawning", **where) == (0, "False\n")


LEAVING = """
import subprocess, sys
left = subprocess.Popen(
    [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE,
)
left.stdout.readline()
print(left.pid, flush=True)
sys.stdin.read()
import os; os._exit(3)
"""


def test_what_an_engines_process_leaves_behind_ends_with_it() -> None:
    """As the group does that a guard ends; the clients in it are not the processes behind them."""
    with subprocess.Popen(
        [warm_python("engine"), "-c", LEAVING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        client = psutil.Process(int(process.stdout.readline()))
        parent, left = family(psutil.Process(process.pid))
        assert left != client
        assert left == behind(client)
        assert process.communicate()[0] == ""
        assert process.returncode == 3
    gone, alive = psutil.wait_procs([parent, client, left], timeout=60)
    assert not alive
    assert len(gone) == 3


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
