"""A quiet tenant beside one that floods, through real HTTP: alone, with fairness, without.

Two gateway processes on one index and one engine, equal but for `fairness.on`; off, all requests
stand in one line in order of arrival. The engine is the tests' stand-in, which takes a fixed time a
token, and works on `SLOTS` requests at once: what differs between the sides is the queue alone. The
sides take turns; the quiet tenant asks one request after another, the other keeps `FLOOD` open.

    python -m bench.fair_gateway
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.index.database import Database
from bench.report import Row, figure, interleave, percentile, ratios, show
from tests.conftest import MODEL
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve
from tests.gateway.serving import Serving

SLOTS, FLOOD = 4, 32
TOKENS, TOKEN_SECONDS = 16, 0.005
PAUSE_SECONDS = 0.05
# What we promise. Nobody is interrupted, so the wait for a slot can be one answer's time at most.
STATED = 2.0


@dataclass(frozen=True)
class Side:
    """A gateway and the two tenants' keys.

    Attributes:
        crowd: requests that the other tenant keeps open.
        tokens: of each answer.
        settle: seconds until the queue is as long as it gets: every client answered once.
    """

    url: str
    quiet: str
    flood: str
    crowd: int = FLOOD
    tokens: int = TOKENS
    settle: float = 1.5 * FLOOD / SLOTS * TOKENS * TOKEN_SECONDS

    def p95(self, count: int, *, flooded: bool) -> float:
        """The quiet tenant's 95th percentile, in seconds, over `count` requests."""
        return percentile(asyncio.run(self._measure(count, flooded)), 95)

    async def _measure(self, count: int, flooded: bool) -> list[float]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            crowd = [
                asyncio.create_task(self._keep_asking(session))
                for _ in range(self.crowd if flooded else 0)
            ]
            await asyncio.sleep(self.settle if flooded else 0)
            seconds = []
            for _ in range(count):
                began = time.perf_counter()
                await self._ask(session, self.quiet)
                seconds.append(time.perf_counter() - began)
                await asyncio.sleep(PAUSE_SECONDS)
            for client in crowd:
                client.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)
            return seconds

    async def _keep_asking(self, session: aiohttp.ClientSession) -> None:
        while True:
            await self._ask(session, self.flood)

    async def _ask(self, session: aiohttp.ClientSession, key: str) -> None:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": self.tokens,
            "ignore_eos": True,
        }
        headers = {"authorization": f"Bearer {key}"}
        url = f"{self.url}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as answer:
            await answer.read()
            answer.raise_for_status()


def waits(fair: Side, fifo: Side, runs: int, count: int) -> list[list[float]]:
    """The quiet tenant's p95 in seconds, by run: alone, flooded, flooded unfairly."""
    return interleave(
        runs,
        lambda: fair.p95(count, flooded=False),
        lambda: fair.p95(count, flooded=True),
        lambda: fifo.p95(count, flooded=True),
        warmup=0,
    )


def run(runs: int, count: int) -> list[Row]:
    """Measure and return the rows; `count` requests of the quiet tenant a side and run."""
    with _sides() as (fair, fifo):
        alone, beside, queued = waits(fair, fifo, runs, count)
    milliseconds = [[1e3 * value for value in side] for side in (alone, beside, queued)]
    note = f"{count} requests a run; the other tenant keeps {FLOOD} open, {SLOTS} slots"
    return [
        figure("quiet p95, alone", "ms", milliseconds[0], note=note),
        figure("quiet p95, flooded, fair", "ms", milliseconds[1]),
        figure("quiet p95, flooded, in order of arrival", "ms", milliseconds[2]),
        figure("fair ÷ alone", "×", ratios(beside, alone), goal=f"≤{STATED:g}"),
        figure("in order of arrival ÷ alone", "×", ratios(queued, alone)),
        figure("in order of arrival ÷ fair", "×", ratios(queued, beside)),
    ]


@contextmanager
def _sides() -> Iterator[tuple[Side, Side]]:
    """The gateway with fairness and the one without."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        loop, engine = Loop(), StandIn(MODEL, token_seconds=TOKEN_SECONDS)
        stack.callback(loop.close)
        served = loop.run(serve(engine.app()))
        stack.callback(lambda: loop.run(served.stop()))
        database = Database(f"sqlite:///{home / 'index.db'}")
        stack.callback(database.close)
        admin = TenantAdmin(database, who="bench")
        keys = [
            admin.add(n, allow=("base:*",), limits=Limits())[1].text for n in ("quiet", "flood")
        ]
        gateways = []
        for on in ("true", "false"):
            settings = {
                "ADAPTERS_GATEWAY_FAIRNESS__ON": on,
                "ADAPTERS_GATEWAY_FAIRNESS__SLOTS": str(SLOTS),
            }
            gateways.append(Serving(home, [served.url], environment=settings))
            stack.callback(gateways[-1].end)
        for gateway in gateways:
            gateway.wait_ready()
        fair, fifo = (Side(gateway.url, *keys) for gateway in gateways)
        yield fair, fifo


if __name__ == "__main__":
    show("A quiet tenant beside a flood", run(runs=5, count=30), name="fair_gateway")
