"""Workers that are killed at any moment: each job ends once, nothing is lost or published twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.app import App
from adapterworks.registry.jobs import putting, schema
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING, NewJob
from adapterworks.settings import Settings
from tests.postgres import new_database, postgres_server
from tests.warm.python import warm_python

__all__ = ["postgres_server"]

ROOT = Path(__file__).resolve().parents[2]
TENANTS = tuple("abcde")
LEASE_S = 4.0
WORKERS = 3
# A busy machine is no defect: only a queue that stands still is.
STANDSTILL_S = 300.0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A home of its own, with an index of either kind."""
    values = {"ADAPTERS_HOME": str(tmp_path / "home"), "ADAPTERS_USER": "tester"}
    if request.param == "postgresql":
        values["ADAPTERS_DATABASE"] = new_database(request.getfixturevalue("postgres_server"))
    return values


class Crew:
    """Workers, of which one is killed now and then and another takes its place."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self._log = log.open("ab")
        self.workers = [self._start() for _ in range(WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        python = warm_python()
        command = [python, "-P", "-m", "tests.workers.run_worker", str(LEASE_S)]
        return subprocess.Popen(
            command, env=self._environment, cwd=ROOT, stdout=self._log, stderr=self._log
        )

    def kill_one(self, number: int) -> None:
        """kill -9, and a new one."""
        self.workers[number].send_signal(signal.SIGKILL)
        self.workers[number].wait()
        self.workers[number] = self._start()

    def require_alive(self) -> None:
        """A worker ends only when it is asked to."""
        assert [worker.poll() for worker in self.workers] == [None] * WORKERS

    def close(self) -> None:
        """End them all, politely."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            assert worker.wait() == 0
        self._log.close()


@contextmanager
def crew(environment: dict[str, str], log: Path) -> Iterator[Crew]:
    """Workers as long as the block runs."""
    made = Crew(environment, log)
    try:
        yield made
    finally:
        made.close()


def ended(app: App) -> Counter[str]:
    """How many jobs are in which state."""
    query = sa.select(schema.jobs.c.state, sa.func.count()).group_by(schema.jobs.c.state)
    with app.registry.database.read() as connection:
        return Counter({row[0]: row[1] for row in connection.execute(query)})


def run(environment: dict[str, str], folder: Path, jobs: int, kills: int) -> None:
    """Queue `jobs` jobs of five tenants, run them with `kills` kills, look at what came of it."""
    app = App(Settings.from_environment(environment))
    database = app.registry.database
    app.registry.require_own_store()
    schema.migrate(database)
    # The first tenant queues all of its jobs before the second has one.
    for number in range(jobs):
        tenant = TENANTS[number * len(TENANTS) // jobs]
        arguments = {"name": f"job-{number}"}
        new = NewJob(FINE_TUNING, tenant, BUILD_LANE, arguments, most_running=2)
        with database.write() as connection:
            putting.put(connection, new, now=time.time())
    chance = random.Random(jobs)
    with crew(environment, folder / "workers.log") as workers:
        done, left, moved = 0, kills, time.monotonic()
        while done < jobs:
            time.sleep(chance.uniform(0.02, 0.2))
            if left and ended(app)["running"]:
                workers.kill_one(chance.randrange(WORKERS))
                left -= 1
            workers.require_alive()
            now = sum(count for state, count in ended(app).items() if state == "succeeded")
            if now > done:
                done, moved = now, time.monotonic()
            assert ended(app)["failed"] == 0
            assert time.monotonic() - moved < STANDSTILL_S, (folder / "workers.log").read_text()
    assert left == 0
    assert ended(app) == {"succeeded": jobs}
    for number in range(jobs):
        versions = app.registry.versions(f"job-{number}")
        assert [version.version for version in versions] == [1], number
    with database.read() as connection:
        rows = connection.execute(sa.select(schema.jobs).order_by(schema.jobs.c.started)).all()
    half = Counter(row.tenant for row in rows[: jobs // 2])
    # Each attempt is charged, so a kill may cost its tenant a turn, but nobody waits for another.
    assert max(half.values()) - min(half.get(tenant, 0) for tenant in TENANTS) <= 2 + kills
    assert sum(row.attempt for row in rows) <= jobs + kills + WORKERS
    app.close()


def test_workers_are_killed_and_each_job_ends_once(
    environment: dict[str, str], tmp_path: Path
) -> None:
    run(environment, tmp_path, jobs=20, kills=4)


@pytest.mark.slow
def test_two_hundred_jobs_and_fifty_kills(environment: dict[str, str], tmp_path: Path) -> None:
    run(environment, tmp_path, jobs=200, kills=50)
