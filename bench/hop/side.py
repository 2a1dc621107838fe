"""One way to the engine, and the processes that are it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.serving import end, wait_ready

ROOT = Path(__file__).resolve().parents[2]
BASE = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Side:
    """One way to the upstream: its URL, what is asked for there with which key, and its process."""

    name: str
    url: str
    model: str
    key: str
    process: psutil.Process | None = None

    def cpu(self) -> float:
        """CPU seconds that its processes have used; 0 without one."""
        if self.process is None:
            return 0.0
        family = [self.process, *self.process.children(recursive=True)]
        return sum(p.cpu_times().user + p.cpu_times().system for p in family)


@contextlib.contextmanager
def process(
    arguments: Sequence[str], ready: str, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run it until the block ends; what it said is shown if it fails.

    Args:
        ready: the URL that answers 200 when it can be asked.
    """
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            arguments, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_ready(ready, child)
            yield psutil.Process(child.pid)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-2000:])
            raise
        finally:
            end(child)
