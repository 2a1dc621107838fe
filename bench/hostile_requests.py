"""Does anything a client sends break the gateway, hold its slots, or escape its bill?

Generated bodies (`bench/hostile_bodies.py`) over all endpoints, by three tenants: one without
limits, one with a limit on everything, one with a month's budget. The engine is the tests'
stand-in, which counts by request id. Counted are answers of 5xx, slots and places that are still
held afterwards, the growth of memory, threads and tasks that have died, and each request whose
usage event is not the engine's count.

    python -m bench.hostile_requests [--requests 20000] [--seed 1]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import sqlalchemy as sa

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.storage.schema import usage_events
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.registry import Registry
from bench.hostile_crowd import CLIENTS, Counts, Crowd
from bench.report import Row, figure, show
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import BASE, publish

MODEL = "stand-in"
MOST_GROWTH = 20.0  # MiB
LIMITS = {
    "free": Limits(),
    "limited": Limits(rpm=6_000_000, tpm=60_000_000, max_concurrency=64, monthly_tokens=10**12),
    "budget": Limits(monthly_tokens=100_000),
}


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        statuses: answers by HTTP status; 0 is a client that left.
        failed: bodies that were answered with 5xx.
        held: what is not free afterwards, in words.
        dead: threads and tasks that should run and do not.
        growth: MiB of memory from a warmed-up tenth to the end.
        counted: what the engine counted of each request it began, by its id.
        answered: those of them that it made to the end.
        metered: prompt and completion tokens of the events in the index.
        left: requests whose client went before the end.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[bytes] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    growth: float = 0.0
    seconds: float = 0.0
    counted: dict[str, Counts] = field(default_factory=dict)
    answered: dict[str, Counts] = field(default_factory=dict)
    metered: dict[str, Counts] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    @property
    def unmetered(self) -> list[str]:
        """Begun by the engine, and no event, or one of fewer tokens.

        Of a stream that is left only the prompt is compared: when the engine hears of it, it is
        some tokens ahead of what anybody has read.
        """
        return [i for i, counts in self.counted.items() if not self._covers(i, counts)]

    @property
    def wrong(self) -> list[str]:
        """Made to the end, read to the end, and metered with another count."""
        finished = self.answered.keys() & self.metered.keys() - self.left
        return [i for i in finished if self.metered[i] != self.answered[i]]

    def _covers(self, request_id: str, counted: Counts) -> bool:
        metered = self.metered.get(request_id)
        if metered is None or metered[0] < counted[0]:
            return False
        return request_id in self.left or metered[1] >= counted[1]

    @property
    def negative(self) -> int:
        """Events with a count below zero."""
        return sum(min(counts) < 0 for counts in self.metered.values())


def run(requests: int, seed: int = 1, *, apart: bool = True) -> Outcome:
    """Send `requests` generated bodies; clients and engine `apart`, in a process of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        scene = _Scene(Path(folder), requests, seed, apart=apart)
        try:
            return scene.play(requests)
        finally:
            scene.close()


class _Scene:
    def __init__(self, home: Path, requests: int, seed: int, *, apart: bool) -> None:
        self.registry = Registry.open(
            database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
        )
        for number, name in enumerate(("medical", "code"), 1):
            publish(self.registry, home, number, name=name, alias="prod")
        admin = TenantAdmin(self.registry.database, who="bench")
        self.keys = [
            admin.add(name, allow=("*",), limits=limits)[1].text for name, limits in LIMITS.items()
        ]
        names = (MODEL, "medical", "code", "code@1")
        self.crowd = Crowd(MODEL, seed, requests, names, apart=apart)
        self.loop = Loop()
        self.launcher = Launcher(self.loop)
        engine = self.launcher.remote(ServedBase(MODEL, MODEL, BASE.digest), self.crowd.engine)
        config = GatewayConfig(trust=TrustTable(proof="off"))
        self.running: Running = self.launcher.gateway(
            self.registry, [engine], home / "spool", config
        )
        self.running.wait_ready()
        self.outcome = Outcome()

    def play(self, requests: int) -> Outcome:
        outcome, began = self.outcome, time.monotonic()
        warm = max(1, requests // 10)
        self.crowd.send(self.running.url, self.keys, warm)
        memory = _mebibytes()
        self.crowd.send(self.running.url, self.keys, requests - warm)
        outcome.held = self._held()
        outcome.growth = _mebibytes() - memory
        outcome.dead = dead(self.running.gateway)
        seen = self.crowd.close()
        outcome.statuses, outcome.failed = seen.statuses, seen.failed
        outcome.counted, outcome.answered = seen.counted, seen.answered
        outcome.metered, outcome.left = self._metered()
        outcome.seconds = time.monotonic() - began
        return outcome

    def close(self) -> None:
        self.launcher.close()
        self.loop.close()
        self.registry.close()

    def _held(self) -> list[str]:
        """What is still held after some seconds in which everybody may let go."""
        deadline = time.monotonic() + 30
        while (held := holdings(self.running.gateway)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return held

    def _metered(self) -> tuple[dict[str, Counts], set[str]]:
        """Every event, once all that the engine began are there; and which clients had left."""
        deadline = time.monotonic() + 60
        columns = usage_events.c
        query = sa.select(
            columns.request_id, columns.prompt_tokens, columns.completion_tokens, columns.status
        )
        while True:
            with self.registry.database.read() as connection:
                rows = connection.execute(query).all()
            metered = {row[0]: (int(row[1]), int(row[2])) for row in rows}
            if self.outcome.counted.keys() <= metered.keys() or time.monotonic() > deadline:
                return metered, {row[0] for row in rows if row[3] == 499}
            time.sleep(0.2)


def holdings(gateway: Gateway) -> list[str]:
    """What requests hold of the gateway now, in words; nothing when all are over."""
    held: dict[str, int] = {}
    for engine in gateway.pool.engines:
        queue = gateway.queue(engine)
        held |= {
            "turns": queue.running,
            "waiting": queue.waiting,
            "turns of tenants": sum(t.running for t in queue._tenants.values()),
            "requests at the engine": engine.inflight,
            "leases": sum(entry.users for entry in gateway.residency(engine).entries),
        }
    states = gateway.limiter._states.values()
    held["places"] = sum(state.slots.used for state in states)
    held["reserved tokens"] = sum(state.month._in_flight for state in states)
    return [f"{count} {what}" for what, count in held.items() if count]


def dead(gateway: Gateway) -> list[str]:
    """Threads and tasks of a gateway that should run and do not, or that have failed."""
    wanted = {"meter writer", "meter drainer", "revision watcher"}
    if gateway.tenants is not None:
        wanted.add("tenants")
    workers = gateway.supervisor.workers
    failed = [f"{w.name} ({w.failures} failures)" for w in workers.values() if w.failures]
    return sorted(wanted - workers.keys()) + failed + gateway.supervisor.down


def _mebibytes() -> float:
    """Of this process, without what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return float(psutil.Process().memory_info().rss) / 2**20


def rows(outcome: Outcome) -> list[Row]:
    """The outcome as a table."""

    def row(name: str, value: float, goal: str = "", note: str = "") -> Row:
        return figure(name, "", [value], goal=goal, note=note)

    sent = outcome.statuses.total()
    return [
        row("requests", sent, note=f"in {outcome.seconds:.0f} s, {CLIENTS} clients, 3 tenants"),
        row("answered with 5xx", len(outcome.failed), "≤0"),
        row("slots and places held afterwards", len(outcome.held), "≤0"),
        row("threads and tasks dead", len(outcome.dead), "≤0"),
        row(
            "memory, MiB more",
            outcome.growth,
            f"≤{MOST_GROWTH:g}",
            "the gateway's process",
        ),
        row("begun by the engine", len(outcome.counted), note="its own count, by request id"),
        row("begun, no event or of fewer tokens", len(outcome.unmetered), "≤0", "index, engine"),
        row("finished, not metered as counted", len(outcome.wrong), "≤0", "index, engine"),
        row("events below zero", outcome.negative, "≤0"),
    ]


def main() -> int:
    """Run, print, and fail if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # of clients that left
    outcome = run(options.requests, options.seed)
    print(f"answers by status (0: the client left): {dict(sorted(outcome.statuses.items()))}")
    for what in (*outcome.held, *outcome.dead, *map(repr, outcome.failed[:5])):
        print(what)
    table = rows(outcome)
    show("Hostile requests", table, name="hostile_requests")
    return int(any(row.met is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
