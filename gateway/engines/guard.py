"""Runs one command and makes sure that it, and all it started, ends with us.

    python -m adapterworks.gateway.engines.guard COMMAND…

Standard input is a pipe whose other end the gateway holds: when it closes, for whatever reason
(`kill -9` of the gateway too), the command's process group is ended. When the command ends first,
what it left behind is killed, and its exit status is ours.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

GRACE_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Run `command` until it ends or standard input closes; returns the exit status."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    guard = os.getpid()

    def with_parent() -> None:
        # If the guard itself is killed, the kernel ends the command at least.
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:  # it was killed before the kernel had been told
                os._exit(1)

    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=with_parent
    )

    def stop(signum: int, frame: FrameType | None) -> None:
        _end(child, GRACE_SECONDS)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the gateway, which drains first
    try:
        while child.poll() is None:
            readable, _, _ = select.select([sys.stdin], [], [], 0.1)
            if readable and not os.read(sys.stdin.fileno(), 1):
                _end(child, GRACE_SECONDS)
    finally:
        _end(child, 0.0)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """End the whole group: politely for `grace` seconds, then not."""
    deadline = time.monotonic() + grace
    if child.poll() is None and grace > 0:
        _signal(child.pid, signal.SIGTERM)
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
