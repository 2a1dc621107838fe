"""The processes of `bench.job_chaos`: real workers and gateways, of which one is killed at a time.

Builds are the stand-in's of the tests (a release of a few bytes), the engine is the tests' too;
queue, worker, gateway, registry and their processes are the real ones.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.gateway.serving import Serving

ROOT = Path(__file__).resolve().parent.parent
LEASE_S = 4.0


class Worker:
    """`adapters worker` with stand-in builds."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._log = log
        self.start()

    @property
    def up(self) -> bool:
        """Whether there is something to kill."""
        return self.process.poll() is None

    def start(self) -> None:
        """Begin, or begin anew."""
        command = [sys.executable, "-P", "-m", "tests.workers.run_worker", str(LEASE_S)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment, cwd=ROOT, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Ask it to end."""
        self.process.terminate()
        self.process.wait()


class Gateway:
    """`adapters serve` on the stand-in engine."""

    def __init__(
        self, environment: Mapping[str, str], home: Path, engine: str, waiting: ThreadPoolExecutor
    ) -> None:
        self._environment, self._home, self._engine = environment, home, engine
        self._waiting = waiting
        self.start()

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return self._ready.done() and self._ready.exception() is None

    @property
    def url(self) -> str:
        """Where, once it is up."""
        return self._serving.url

    def start(self) -> None:
        """Begin, or begin anew."""
        own = {**self._environment, "ADAPTERS_HOME": str(self._home)}
        self._serving = Serving(self._home, [self._engine], environment=own)
        self._ready: Future[None] = self._waiting.submit(self._serving.wait_ready)

    def kill(self) -> None:
        """kill -9; it was up, so nobody waits for it."""
        self.said = self._serving.end()

    def end(self) -> None:
        """The same: it has nothing to give back that another would not take."""
        self._ready.exception(300)
        self.kill()


class Crew:
    """Three workers and two gateways."""

    def __init__(self, environment: Mapping[str, str], folder: Path, engine: str) -> None:
        self._waiting = ThreadPoolExecutor(4)
        self.workers = [Worker(environment, folder / f"worker-{n}.log") for n in range(3)]
        self.gateways = [
            Gateway(environment, folder / f"gateway-{n}", engine, self._waiting) for n in range(2)
        ]
        self.killed = {"worker": 0, "gateway": 0}

    def kill_one(self, chance: random.Random) -> bool:
        """kill -9 of one that is up, and another in its place; whether there was one."""
        kind = chance.choice(("worker", "gateway"))
        up = [one for one in (self.workers if kind == "worker" else self.gateways) if one.up]
        if not up:
            return False
        chosen = chance.choice(up)
        chosen.kill()
        chosen.start()
        self.killed[kind] += 1
        return True

    def address(self, chance: random.Random) -> str | None:
        """Of a gateway that is up."""
        up = [gateway.url for gateway in self.gateways if gateway.up]
        return chance.choice(up) if up else None

    def close(self) -> None:
        """End them all."""
        for one in (*self.workers, *self.gateways):
            one.end()
        self._waiting.shutdown()
