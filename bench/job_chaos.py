"""kill -9 of workers and gateways while tenants' jobs are queued, built, proved and told of.

Five tenants create their jobs over HTTP, one of them with twice the share of the others, while real
worker and gateway processes are killed and begun anew. A job that was acknowledged must end, once,
as `succeeded`: one version, one proof, one file of results; who was next must have been who had had
the least for its weight.

    python -m bench.job_chaos [--jobs 200] [--kills 50] [--sqlite] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import openai
import sqlalchemy as sa

from adapterworks.app import App
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.job import BUILD_LANE
from adapterworks.registry.jobs.states import ENDED
from adapterworks.settings import Settings
from bench import apart
from bench.job_crew import Crew
from tests.gateway.engine_standin import StandIn
from tests.gateway.files.test_files import ROWS
from tests.gateway.running import Loop, serve
from tests.small_base import MODEL, SMALL_BASES, SmallBases

WEIGHTS = {"ann": 1.0, "ben": 1.0, "cid": 1.0, "dee": 1.0, "eve": 2.0}
# A busy machine is no defect: only a queue that stands still is.
STANDSTILL_S = 240.0
Say = Callable[[str], None]
_jobs, _shares = schema.jobs, schema.shares


@dataclass
class Result:
    """The whole run.

    Attributes:
        acknowledged: jobs whose creation was answered; unanswered: the others that are there.
        attempts: how often a job was taken from the queue; two a job where nothing is killed.
        begun_when_first_ran_out: of each tenant's jobs, when the first tenant had no more waiting.
        widest: between what any two tenants were charged for their weight, builds and proofs,
            while all had jobs waiting.
        wrong: what must not be.
    """

    jobs: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    unanswered: int = 0
    attempts: int = 0
    lost_on_the_way: int = 0
    begun_when_first_ran_out: dict[str, int] = field(default_factory=dict)
    widest: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Tenant:
    """One that creates its jobs; what it was told is kept."""

    name: str
    key: str
    jobs: int
    acknowledged: dict[str, str] = field(default_factory=dict)

    def run(self, crew: Crew, chance: random.Random) -> None:
        """Send rows and create jobs, by whichever gateway is up, until all are acknowledged."""
        tries = 0
        while len(self.acknowledged) < self.jobs:
            address = crew.address(chance)
            if address is None:
                time.sleep(0.05)
                continue
            tries += 1
            suffix = f"j{len(self.acknowledged)}-{tries}"  # a name of its own for each try
            try:
                with client_of(address, self.key) as client:
                    rows = client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
                    job = client.fine_tuning.jobs.create(
                        model=MODEL, training_file=rows.id, suffix=suffix
                    )
            except (openai.APIConnectionError, openai.InternalServerError):
                continue  # killed meanwhile, or not there yet
            self.acknowledged[job.id] = suffix


@contextmanager
def client_of(address: str, key: str) -> Iterator[openai.OpenAI]:
    """OpenAI's client, which does not try again by itself."""
    client = openai.OpenAI(base_url=address + "/v1", api_key=key, max_retries=0, timeout=60.0)
    with client:
        yield client


def run(jobs: int, kills: int, folder: Path, database: str, seed: int, say: Say) -> Result:
    """Queue, kill, wait until all have ended, and look at what came of it."""
    result, chance, loop = Result(jobs), random.Random(seed), Loop()
    base = SmallBases().ensure(MODEL)
    engine = loop.run(serve(StandIn(base.name).app()))
    environment = apart.environment(
        folder / "home",
        ADAPTERS_BLOBS=str(folder / "blobs"),
        ADAPTERS_DATABASE=database,
        ADAPTERS_USER="tester",
        ADAPTERS_BASES=str(SMALL_BASES),
        ADAPTERS_GATEWAY_JOBS__ON="true",
    )
    app = App(Settings.from_environment(environment))
    app.registry.require_own_store()
    schema.migrate(app.registry.database)
    admin = TenantAdmin(app.registry.database, who="bench")
    tenants, ids = [], {}
    for name, weight in WEIGHTS.items():
        tenant, key = admin.add(name, allow=("*",), limits=Limits(), weight=weight)
        tenants.append(Tenant(name, key.text, jobs // len(WEIGHTS)))
        ids[tenant.id] = name
    began = time.monotonic()
    crew = Crew(environment, folder, engine.url)
    try:
        threads = [
            threading.Thread(target=one.run, args=(crew, random.Random(seed + n)), daemon=True)
            for n, one in enumerate(tenants)
        ]
        for thread in threads:
            thread.start()
        _kill_until_all_ended(app, crew, tenants, kills, chance, result, say)
        for thread in threads:
            thread.join()
        result.seconds = round(time.monotonic() - began, 1)
        result.kills = dict(crew.killed)
        address = None
        while address is None:
            address = crew.address(chance)
            time.sleep(0.05)
        for one in tenants:
            _told(one, address, result)
    finally:
        crew.close()
        loop.run(engine.stop())
        loop.close()
    _stored(app, ids, tenants, result)
    app.close()
    return result


def _kill_until_all_ended(
    app: App,
    crew: Crew,
    tenants: list[Tenant],
    kills: int,
    chance: random.Random,
    result: Result,
    say: Say,
) -> None:
    left, moved, before, all_in = kills, time.monotonic(), 0, False
    while True:
        time.sleep(chance.uniform(0.05, 0.3))
        all_in = all_in or all(len(one.acknowledged) == one.jobs for one in tenants)
        ended = _sample(app, len(tenants), result, watch=all_in)
        # Kills fall evenly over the run: so many for what has been created and has ended.
        created = sum(len(one.acknowledged) for one in tenants)
        due = kills * (created + ended) / (2 * result.jobs) - (kills - left)
        if left and due > 0:
            left -= crew.kill_one(chance)
        now = created + ended
        if now > before:
            if now // 50 > before // 50:
                say(f"{created} created, {ended} ended, {kills - left} kills")
            before, moved = now, time.monotonic()
        if all_in and not left and not _open(app):
            return
        if time.monotonic() - moved > STANDSTILL_S:
            result.wrong.append(f"nothing moves: {ended} of {result.jobs} have ended")
            return


def _open(app: App) -> int:
    query = sa.select(sa.func.count()).where(_jobs.c.state.not_in(ENDED))
    with app.registry.database.read() as connection:
        return connection.scalar(query) or 0


def _sample(app: App, tenants: int, result: Result, *, watch: bool) -> int:
    """How many have ended; looks at the shares while every tenant has jobs that wait."""
    waiting = sa.and_(_jobs.c.state == "queued", _jobs.c.lane == BUILD_LANE)
    with app.registry.database.read() as connection:
        busy = connection.scalar(
            sa.select(sa.func.count(sa.distinct(_jobs.c.tenant))).where(waiting)
        )
        served = list(connection.scalars(sa.select(_shares.c.served)))
        ended = connection.scalar(sa.select(sa.func.count()).where(_jobs.c.state.in_(ENDED)))
    if watch and busy == tenants:
        result.samples += 1
        result.widest = round(max(result.widest, max(served) - min(served)), 2)
    return ended or 0


def _told(tenant: Tenant, address: str, result: Result) -> None:
    """What its own client sees."""
    with client_of(address, tenant.key) as client:
        seen = {job.id: job for job in client.fine_tuning.jobs.list(limit=100)}
        files = [f.id for f in client.files.list() if f.purpose == "fine-tune-results"]
        result.acknowledged += len(tenant.acknowledged)
        result.unanswered += len(seen.keys() - tenant.acknowledged.keys())
        lost = sorted(tenant.acknowledged.keys() - seen.keys())
        result.wrong += [f"{tenant.name}: {job} was acknowledged and is not there" for job in lost]
        for job in seen.values():
            if job.status != "succeeded":
                result.wrong.append(f"{job.id}: {job.status}: {job.error}")
            elif not (job.fine_tuned_model or "").endswith("@1"):
                result.wrong.append(f"{job.id}: its model is {job.fine_tuned_model}")
            messages = Counter(e.message for e in client.fine_tuning.jobs.list_events(job.id))
            proofs = [count for said, count in messages.items() if said.startswith("proved by")]
            if proofs != [1] or messages[f"created job {job.id}"] != 1:
                result.wrong.append(f"{job.id}: proved {proofs} times")
        named = [file for job in seen.values() for file in job.result_files]
        if Counter(named) != Counter(files) or len(named) != len(seen):
            result.wrong.append(
                f"{tenant.name}: {len(files)} files of results, {len(named)} named by its jobs"
            )


def _stored(app: App, ids: dict[str, str], tenants: list[Tenant], result: Result) -> None:
    """What the registry has."""
    with app.registry.database.read() as connection:
        rows = connection.execute(sa.select(_jobs).order_by(_jobs.c.started)).all()
    result.attempts = sum(row.attempt for row in rows)
    result.lost_on_the_way = result.attempts - 2 * len(rows)
    for row in rows:
        versions = [v.version for v in app.registry.versions(json.loads(row.arguments)["name"])]
        if versions != [1]:
            result.wrong.append(f"{row.id}: versions {versions}")
    begun: Counter[str] = Counter()
    for row in rows:
        begun[ids[row.tenant]] += 1
        if begun[ids[row.tenant]] == tenants[0].jobs:
            break
    result.begun_when_first_ran_out = dict(sorted(begun.items()))
    report = app.registry.upkeep.verify()
    if not report.clean:
        result.wrong.append(f"the registry is not clean: {report.problems[:3]}")
    turns = [begun[tenant.name] / WEIGHTS[tenant.name] for tenant in tenants]
    if max(turns) - min(turns) > _MOST_APART:
        result.wrong.append(f"of {dict(begun)} begun, some are {_MOST_APART} turns behind others")


# Of jobs begun for a tenant's weight. What was charged may be further apart for a while: proofs are
# charged too, and those that waited while their gateway was dead come all at once.
_MOST_APART = 4.0


def main() -> int:
    """Run and print; exit code 1 if anything was lost, doubled or unfair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sqlite", action="store_true", help="the index embedded")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    def say(line: str) -> None:
        sys.stderr.write(line + "\n")

    def go(folder: Path, database: str) -> Result:
        return run(arguments.jobs, arguments.kills, folder, database, arguments.seed, say)

    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as root:
        folder = Path(root)
        if arguments.sqlite:
            result = go(folder, f"sqlite:///{folder / 'index.db'}")
        else:
            from tests.postgres import new_database, running_server

            with running_server() as server:
                url = new_database(server).replace("postgresql://", "postgresql+psycopg://", 1)
                result = go(folder, url)
    if arguments.json:
        sys.stdout.write(json.dumps(asdict(result), indent=2) + "\n")
    else:
        for name, value in asdict(result).items():
            sys.stdout.write(f"{name.replace('_', ' '):<26} {value}\n")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
