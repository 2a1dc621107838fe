"""A process and all that it starts, within bounds that hold for them together.

A process's own limits (`setrlimit`) are each one's: what forks has as much again. So the tree is
looked at while it runs, and ended when it has had enough; what it says is read up to a length, and
not kept beyond it.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

_LOOK_S = 0.1
_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Heard:
    """What a command said, and whether it ended well: by itself, within its bounds."""

    said: bytes
    well: bool


def said_by(
    command: Sequence[str], told: bytes, *, most: int, seconds: float, memory: int, waits: float
) -> Heard:
    """What a command says on its standard output.

    Args:
        told: on its standard input.
        most: bytes that it may say.
        seconds: of processor time that it and its descendants may use, up to what they use between
            two looks, a tenth of a second apart.
        memory: bytes that they may have resident together, up to the same.
        waits: seconds of the wall's clock.

    Raises:
        OSError: it cannot be started.
    """
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        teller = threading.Thread(target=_tell, args=(process.stdin, told), daemon=True)
        teller.start()
        try:
            said = _heard(process, most, _Bounds(process.pid, seconds, memory, waits))
        finally:
            process.kill()  # of what has ended by itself nothing is left to be killed
            process.wait()
            teller.join()
        return said


class _Bounds:
    """Whether a tree of processes has had enough."""

    def __init__(self, root: int, seconds: float, memory: int, waits: float) -> None:
        self._root, self._seconds, self._memory = root, seconds, memory
        self._end = time.monotonic() + waits
        self._next = time.monotonic() + _LOOK_S

    def passed(self) -> bool:
        """See above; the tree is looked at once in `_LOOK_S`."""
        now = time.monotonic()
        if now < self._next:
            return now > self._end
        self._next = now + _LOOK_S
        seconds, memory = _used(self._root)
        return now > self._end or seconds > self._seconds or memory > self._memory


def _used(root: int) -> tuple[float, int]:
    """Seconds of processor time and resident bytes of a process and all that came of it."""
    import psutil

    seconds, memory = 0.0, 0
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(root)
        for process in (first, *first.children(recursive=True)):
            with suppress(psutil.Error):
                # Its children's are counted there once they are ended and waited for.
                seconds += sum(process.cpu_times()[:4])
                memory += process.memory_info().rss
    return seconds, memory


def _tell(pipe: object, told: bytes) -> None:
    with suppress(OSError):  # it has ended, or does not listen
        pipe.write(told)  # type: ignore[attr-defined]
    with suppress(OSError):
        pipe.close()  # type: ignore[attr-defined]


def _heard(process: subprocess.Popen[bytes], most: int, bounds: _Bounds) -> Heard:
    """What it says until it ends, fails, has said too much or had enough."""
    assert process.stdout is not None
    output, said = process.stdout.fileno(), b""
    while True:
        if bounds.passed():
            return Heard(said, False)
        if not select.select([output], [], [], _LOOK_S)[0]:
            continue
        part = os.read(output, _AT_ONCE)
        if not part:
            break
        said += part
        if len(said) > most:
            return Heard(said, False)
    while process.poll() is None:  # it has closed its output, and may go on
        if bounds.passed():
            return Heard(said, False)
        time.sleep(0.005)
    return Heard(said, process.returncode == 0)
