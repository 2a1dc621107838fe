"""Is every answered request metered, to the token, whatever kills the gateway in between?

Requests of two tenants, streamed and whole, to two adapters and the base, go through a gateway
process that is killed with -9 at intervals while all clients are waiting for answers, and started
again. The engine behind it is the tests' stand-in, which is not killed and keeps its own count by
request id.

What is counted:
- answered: the client has the whole answer (for a stream, its `[DONE]`). Each must be in the index
  once, with the engine's count of that very request.
- metered: an event with status 200 in the index. Each must be a request that the engine answered to
  its end, with the same counts. It may be one whose last byte the kill cut off: metering is durable
  before that byte is sent, never after.
- cut off: what the engine answered and a kill lost before metering was durable. No client has it.

    python -m bench.metered [--requests 10000] [--kills 9]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa

from adapterworks.gateway.metering.usage import usage
from adapterworks.gateway.storage.schema import usage_events
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from bench.report import Row, figure, show
from tests.conftest import BASES, MODEL
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve
from tests.gateway.serving import Serving
from tests.registry.releases import publish

CLIENTS = 16
Counts = dict[str, tuple[int, int]]  # request id → prompt and completion tokens


@dataclass
class Outcome:
    """Three counts of the same requests.

    Attributes:
        answered: as the clients read them.
        engine: as the engine counted them, for every answer that it made to its end.
        metered: of the events in the index with status 200.
        failed_tokens: in events with any other status.
        reported: prompt and completion tokens that `adapters usage` adds up.
    """

    answered: Counts = field(default_factory=dict)
    engine: Counts = field(default_factory=dict)
    metered: Counts = field(default_factory=dict)
    failed_tokens: int = 0
    reported: tuple[int, int] = (0, 0)
    kills: int = 0
    seconds: float = 0.0

    @property
    def unmetered(self) -> list[str]:
        """Answered, and not in the index with the engine's count."""
        return [i for i in self.answered if self.metered.get(i) != self.engine.get(i)]

    @property
    def invented(self) -> list[str]:
        """Metered, and not what the engine counted."""
        return [i for i, counts in self.metered.items() if self.engine.get(i) != counts]

    @property
    def misread(self) -> list[str]:
        """Answered with another count than the engine's."""
        return [i for i, counts in self.answered.items() if self.engine.get(i) != counts]

    @property
    def last_byte_lost(self) -> int:
        """Metered, and cut off by a kill before the client had all of it."""
        return len(self.metered.keys() - self.answered.keys())

    @property
    def cut_off(self) -> int:
        """Made by the engine, lost by a kill before metering was durable."""
        return len(self.engine.keys() - self.metered.keys())


def run(requests: int, kills: int) -> Outcome:
    """Have `requests` answered, killing the gateway `kills` times at even intervals."""
    with tempfile.TemporaryDirectory() as folder, _engine() as (engine, url):
        home = Path(folder)
        registry = Registry.open(
            database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
        )
        base = BaseStore(BASES).ensure(MODEL)
        for number, name in enumerate(("a", "b"), 1):
            publish(registry, home, number, name=name, alias="prod", base=base.identity)
        admin = TenantAdmin(registry.database, who="bench")
        keys = [admin.add(name, allow=("*",), limits=Limits())[1].text for name in ("acme", "bee")]
        began = time.monotonic()
        outcome = asyncio.run(
            _Crowd(home, url, keys, (base.name, "a", "b")).answer(requests, kills)
        )
        outcome.seconds = time.monotonic() - began
        outcome.engine = dict(engine.answered)
        _read_index(registry, outcome)
        registry.close()
        return outcome


@contextmanager
def _engine() -> Iterator[tuple[StandIn, str]]:
    loop, engine = Loop(), StandIn(MODEL)
    served = loop.run(serve(engine.app()))
    try:
        yield engine, served.url
    finally:
        loop.run(served.stop())
        loop.close()


def _read_index(registry: Registry, outcome: Outcome) -> None:
    with registry.database.read() as connection:
        for row in connection.execute(sa.select(usage_events)):
            counts = (row.prompt_tokens, row.completion_tokens)
            if row.status == 200:
                outcome.metered[row.request_id] = counts
            else:
                outcome.failed_tokens += sum(counts)
    rows = usage(registry.database, by=("tenant", "release"))
    outcome.reported = (
        sum(row.prompt_tokens for row in rows),
        sum(row.completion_tokens for row in rows),
    )


class _Crowd:
    """Clients that ask again, as a new request, whenever the gateway goes away."""

    def __init__(self, home: Path, engine: str, keys: list[str], models: tuple[str, ...]) -> None:
        self._home, self._engine = home, engine
        self._keys, self._models = keys, models
        self._outcome = Outcome()
        self._sent = 0
        self._serving = self._start()
        self._up = asyncio.Event()

    async def answer(self, requests: int, kills: int) -> Outcome:
        """All of it; the gateway has ended, and drained its spool, when this returns."""
        try:
            await self._come_up()
            done = asyncio.Event()
            timeout = aiohttp.ClientTimeout(total=60)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                clients = [
                    asyncio.create_task(self._client(session, requests)) for _ in range(CLIENTS)
                ]
                killer = asyncio.create_task(self._kill(requests, kills, done))
                await asyncio.gather(*clients)
                done.set()
                await killer
            self._serving.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._serving.process.wait, 60)
        finally:
            self._serving.end()
        return self._outcome

    def _start(self) -> Serving:
        return Serving(self._home, [self._engine])

    async def _come_up(self) -> None:
        await asyncio.to_thread(self._serving.wait_ready)
        self._up.set()

    async def _kill(self, requests: int, kills: int, done: asyncio.Event) -> None:
        for number in range(1, kills + 1):
            while len(self._outcome.answered) < number * requests // (kills + 1):
                if done.is_set():
                    return
                await asyncio.sleep(0.001)
            self._up.clear()
            await asyncio.to_thread(self._serving.end)  # kill -9
            self._outcome.kills += 1
            self._serving = self._start()
            await self._come_up()

    async def _client(self, session: aiohttp.ClientSession, requests: int) -> None:
        while len(self._outcome.answered) < requests:
            await self._up.wait()
            self._sent += 1
            try:
                await self._ask(session, self._sent)
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(0.01)  # killed: what was answered in part does not count

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        stream = number % 2 == 0
        body: dict[str, Any] = {
            "model": self._models[number % len(self._models)],
            "messages": [{"role": "user", "content": "word " * (number % 11)}],
            "max_tokens": 1 + number % 7,
            "stream": stream,
        }
        if stream:
            body["stream_options"] = {"include_usage": True}
        headers = {"authorization": f"Bearer {self._keys[number % 2]}"}
        url = f"{self._serving.url}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as answer:
            text = await answer.text()
            if answer.status == 200 and (counts := _counts(text, stream=stream)) is not None:
                self._outcome.answered[answer.headers["x-request-id"]] = counts


def _counts(text: str, *, stream: bool) -> tuple[int, int] | None:
    """The counts in a whole answer; None if a stream was cut off."""
    if stream:
        events = text.strip().split("\n\n")
        if events[-1] != "data: [DONE]":
            return None
        text = events[-2].removeprefix("data: ")
    counted: Mapping[str, int] = json.loads(text)["usage"]
    return counted["prompt_tokens"], counted["completion_tokens"]


def rows(outcome: Outcome) -> list[Row]:
    """The outcome as a table."""

    def row(name: str, value: float, goal: str = "", note: str = "") -> Row:
        return figure(name, "", [value], goal=goal, note=note)

    ids = outcome.answered.keys()
    ours = sum(sum(outcome.metered.get(i, (0, 0))) for i in ids)
    theirs = sum(sum(outcome.engine.get(i, (0, 0))) for i in ids)
    total = sum(sum(counts) for counts in outcome.metered.values()) + outcome.failed_tokens
    return [
        row("requests answered", len(ids), note=f"in {outcome.seconds:.0f} s, {CLIENTS} clients"),
        row("kills of the gateway", outcome.kills, note="kill -9 with requests in flight"),
        row("answered, not metered as counted", len(outcome.unmetered), "≤0", "index, engine"),
        row("metered, not as counted", len(outcome.invented), "≤0", "index, engine"),
        row("read, not as counted", len(outcome.misread), "≤0", "client, engine"),
        row("tokens of answered requests", theirs, note="engine's count"),
        row("tokens too many or too few", abs(ours - theirs), "≤0", "index − engine, answered"),
        row("report against its events", abs(sum(outcome.reported) - total), "≤0", "tokens"),
        row("metered, last byte cut off", outcome.last_byte_lost, note="durable before the kill"),
        row("made, cut off, not metered", outcome.cut_off, note="no client has the answer"),
    ]


def main() -> int:
    """Run, print, and fail if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=9)
    options = parser.parse_args()
    table = rows(run(options.requests, options.kills))
    show("Metering across kills", table, name="metered")
    return int(any(row.met is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
