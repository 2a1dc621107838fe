"""The driver of a Ray job: has a node run a command, and another one when that node dies.

    python -P -m adapterworks.workers.executors.ray_driver     the task is in ADAPTERS_RAY_TASK

What the command prints is printed here, so it is the job's log. SIGTERM ends the command, which is
waited for. The exit code is the command's; one that gives back what it runs is begun again.

Invariant: the command does not outlive whoever asked for it: it is held by a pipe, and asked to end
when the pipe's other end is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapterworks.workers.executors.executor import GIVEN_BACK

ASKED = "ADAPTERS_RAY_TASK"
_AGAIN = "the node that ran this is gone; it goes on on another one"
_OVER = 124
_UP_S, _PATIENCE_S = 2.0, 50.0
# Standard input is the pipe. An end that is asked for reaches the command, and is waited for. Who
# watches the pipe holds nothing of what is printed: its end is the command's.
_HOLD = """
exec 3<&0
"$@" 3<&- < /dev/null &
child=$!
{ cat; kill -TERM "$child"; } <&3 > /dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$child"; code=$?
kill "$watch" 2> /dev/null
exit "$code"
"""


class Runner:
    """Runs one command on a node; an actor of Ray's, whose two methods may run at once."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, command: list[str], folder: str) -> Iterator[str | int]:
        """What the command prints, line by line, then its exit code."""
        words = [sys.executable if command[0] == "python" else command[0], *command[1:]]
        self._process = process = subprocess.Popen(
            ["sh", "-c", _HOLD, "sh", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder if Path(folder).is_dir() else None,
            # Ray ends a worker's whole group at once; the pipe lets the command give back what it
            # has.
            start_new_session=True,
            text=True,
            errors="replace",
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            # Ray sends values into a generator, which a file under `yield from` does not take.
            for line in process.stdout:  # noqa: UP028
                yield line
            code = process.wait()
        yield code

    def end(self) -> None:
        """Have the command end, and wait until it has."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()


def main() -> int:
    """Have it run to its end; returns the exit code."""
    import ray
    from ray.exceptions import ObjectLostError, RayActorError, WorkerCrashedError

    asked: dict[str, Any] = json.loads(os.environ[ASKED])
    ray.init(address="auto", log_to_driver=False, logging_level="error")
    kind = ray.remote(Runner).options(max_concurrency=2, **asked["resources"])
    over = False

    def end(number: int, frame: object) -> None:
        nonlocal over
        over = number == signal.SIGALRM
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, end)
    left = asked["seconds"] or 0
    while True:
        runner = kind.remote()
        run = runner.run.options(num_returns="streaming")
        try:
            ray.get(runner.__ray_ready__.remote())  # what is waited for a node does not count
            signal.alarm(left)
            for piece in run.remote(asked["command"], asked["folder"]):
                said = ray.get(piece)
                if isinstance(said, int):
                    if said != GIVEN_BACK:
                        return said
                    break  # its node is being drained: nobody has asked this driver to end
                sys.stdout.write(said)
                sys.stdout.flush()
        except KeyboardInterrupt:
            signal.alarm(0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
            _end(ray, runner)
            return _OVER if over else 1
        except (RayActorError, WorkerCrashedError, ObjectLostError):
            pass
        left = signal.alarm(0) or left
        print(_AGAIN, flush=True)


def _end(ray: Any, runner: Any) -> None:
    """Have the command end, if it has begun; one that waits for a node has not."""
    if not ray.wait([runner.__ray_ready__.remote()], timeout=_UP_S)[0]:
        return
    ended = runner.end.remote()
    ready, _ = ray.wait([ended], timeout=_PATIENCE_S)
    if ready:
        with contextlib.suppress(Exception):  # its node has gone meanwhile
            ray.get(ended)


if __name__ == "__main__":
    sys.exit(main())
