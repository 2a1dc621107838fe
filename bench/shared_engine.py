"""Two gateways on one real vLLM that mixes two adapters, with six to serve; and hostile requests.

1. Every answer must come from the adapter that was asked for: the greedy text that its digest gives
   when nothing else runs. No request may get a 404 or any other error, although each gateway
   unloads what the other one may need.
2. Generated hostile bodies (`bench/hostile_bodies.py`): no answer of 5xx, nothing held, nobody
   dead, and what a whole answer says it cost is what was metered.

The engine computes two of SmolLM2's thirty layers: what is asked here does not depend on the rest.
Ends with 1 if any of it is not so. It takes 3 to 5 minutes.

    python -m bench.shared_engine [--requests 500] [--hostile 500] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa

from adapterworks.gateway.config.engines import LocalEngine
from adapterworks.gateway.config.tables import GatewayConfig, ResidencyTable
from adapterworks.gateway.engines.client import KEEP_SECONDS
from adapterworks.gateway.engines.local import LocalEngine as Local
from adapterworks.gateway.engines.plan import engine_specs
from adapterworks.gateway.engines.remote import RemoteEngine
from adapterworks.gateway.storage.schema import usage_events
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.registry.registry import Registry
from bench.hostile_bodies import Hostile, generate
from bench.hostile_requests import dead, holdings
from bench.random_lora import make_releases, publish
from bench.report import Row, figure, show
from tests.gateway.running import Launcher, Loop, Running
from tests.small_base import MODEL, SmallBases

ADAPTERS, SLOTS, CLIENTS, TOKENS = 6, 2, 16, 4
MARGIN = 0.02  # nats between the best token and the second: less may turn by rounding in a batch
PROMPTS = ("The moon is", "A river runs", "My garden has", "An engine can")
CONFIG = GatewayConfig(
    open=True,
    engines=(LocalEngine(max_num_seqs=32, max_model_len=1024, max_lora_rank=16),),
    residency=ResidencyTable(max_loras=SLOTS, max_cpu_loras=SLOTS, cold_wait_seconds=300.0),
)
Texts = dict[tuple[str, str], str]  # by adapter and prompt


class Door(RemoteEngine):
    """The engine's own socket, as an engine that runs elsewhere."""

    def __init__(self, engine: Local) -> None:
        super().__init__(
            "shared", engine.base, url="http://engine", slots=SLOTS, capacity=SLOTS,
            parallel=engine.parallel, key=engine._key, interval=0.5, request_seconds=300.0,
        )  # fmt: skip
        self._path = str(engine._socket)

    async def start(self, supervisor: Supervisor | None = None) -> None:
        """Begin to watch it."""
        self._open(aiohttp.UnixConnector(self._path, keepalive_timeout=KEEP_SECONDS), self.url)
        self._task = (supervisor or Supervisor()).task("engine shared", self._watch)


@dataclass(frozen=True)
class Scene:
    """Two gateways on one engine, and what they serve by name."""

    registry: Registry
    gateways: tuple[Running, Running]
    digests: dict[str, str]


@contextmanager
def open_scene() -> Iterator[Scene]:
    """Start all of it; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="adapterworks-shared-") as folder:
        home = Path(folder)
        bases = SmallBases()
        base = bases.ensure(MODEL)
        registry = Registry.open(
            database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
        )
        _say(f"{ADAPTERS} random adapters and their fingerprints")
        digests = {}
        for number, made in enumerate(make_releases(base, home / "made", ADAPTERS, rank=16)):
            name = f"adapter-{number}"
            digests[name] = publish(registry, made, base, name, number).digest
            registry.promote(name, 1, "prod", who="bench")
        spec = engine_specs(CONFIG, bases, [])[0]
        engine = Local(spec, run=home, supervisor=CONFIG.supervisor, request_seconds=300.0)
        loop = Loop()
        launcher = Launcher(loop)
        try:
            _say("starting vLLM")
            loop.run(engine.start())
            loop.run(engine.ready())
            gateways = [
                launcher.gateway(registry, [Door(engine)], home / f"spool-{number}", CONFIG)
                for number in range(2)
            ]
            for running in gateways:
                running.wait_ready()
            yield Scene(registry, (gateways[0], gateways[1]), digests)
        finally:
            launcher.close()
            loop.run(engine.stop())
            loop.close()
            registry.close()


async def _ask(session: aiohttp.ClientSession, url: str, **body: Any) -> tuple[int, Any, str]:
    fields = {"temperature": 0, "max_tokens": TOKENS, "ignore_eos": True, **body}
    async with session.post(f"{url}/v1/completions", json=fields) as answer:
        digest = answer.headers.get("x-adapter-digest", "")
        return answer.status, await answer.json(), digest


async def alone(scene: Scene) -> Texts:
    """What each adapter answers when nothing else runs; clear-cut answers only."""
    texts: Texts = {}
    async with aiohttp.ClientSession() as session:
        for name in scene.digests:
            for prompt in PROMPTS:
                status, body, _ = await _ask(
                    session, scene.gateways[0].url, model=name, prompt=prompt, logprobs=2
                )
                assert status == 200, body
                choice = body["choices"][0]
                best = [sorted(s.values())[::-1] for s in choice["logprobs"]["top_logprobs"]]
                if min(first - second for first, second, *_ in best) >= MARGIN:
                    texts[name, prompt] = choice["text"]
    return texts


def crowd(scene: Scene, expected: Texts, requests: int, seed: int) -> list[Row]:
    """Ask both gateways for all adapters at once."""
    rng = random.Random(seed)
    work = [(rng.randrange(2), *rng.choice(sorted(expected))) for _ in range(requests)]
    statuses: Counter[int] = Counter()
    wrong: list[str] = []

    async def client(session: aiohttp.ClientSession, mine: Iterator[tuple[int, str, str]]) -> None:
        for which, name, prompt in mine:
            status, body, digest = await _ask(
                session, scene.gateways[which].url, model=name, prompt=prompt
            )
            statuses[status] += 1
            text = body["choices"][0]["text"] if status == 200 else json.dumps(body)
            if (text, digest) != (expected[name, prompt], scene.digests[name]):
                wrong.append(f"{name} {prompt!r}: {status} {text!r}")

    async def all_() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            queue = iter(work)
            await asyncio.gather(*(client(session, queue) for _ in range(CLIENTS)))

    began = time.monotonic()
    asyncio.run(all_())
    for line in wrong[:5]:
        _say(f"fault: {line}")
    slots = [next(iter(g.gateway.fleet.queues.values())).slots for g in scene.gateways]
    texts = len(set(expected.values()))
    note = f"{requests} in {time.monotonic() - began:.0f} s, {CLIENTS} clients, turns {slots}"
    return [
        _row("answers 200", statuses[200], f"≥{requests}", note),
        _row("answers 404", statuses[404], "≤0"),
        _row("not the text of the digest alone", len(wrong), "≤0", f"{texts} texts"),
    ]


def hostile(scene: Scene, count: int, seed: int) -> list[Row]:
    """Send generated bodies to the first gateway."""
    running = scene.gateways[0]
    bodies = generate(seed, count, (MODEL, *sorted(scene.digests)[:2], "adapter-0@1"))
    statuses: Counter[int] = Counter()
    failed: list[str] = []
    said: dict[str, tuple[int, int]] = {}

    async def client(session: aiohttp.ClientSession, mine: Iterator[Hostile]) -> None:
        for body in mine:
            headers = {"content-type": "application/json"}
            try:
                async with session.post(body.path, data=body.body, headers=headers) as answer:
                    statuses[0 if body.leave else answer.status] += 1
                    if body.leave:
                        continue
                    text = await answer.read()
            except aiohttp.ServerDisconnectedError:
                statuses[599] += 1
                failed.append(f"disconnected: {body.path} {body.body[:300]!r}")
                continue
            if answer.status >= 500:
                failed.append(f"{answer.status} {text[:300]!r}: {body.path} {body.body[:300]!r}")
            counts = _counts(text) if answer.status == 200 else None
            if counts is not None:
                said[answer.headers["x-request-id"]] = counts

    async def all_() -> None:
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(running.url, timeout=timeout) as session:
            queue = iter(bodies)
            await asyncio.gather(*(client(session, queue) for _ in range(CLIENTS)))

    began = time.monotonic()
    asyncio.run(all_())
    deadline = time.monotonic() + 120
    while (held := holdings(running.gateway)) and time.monotonic() < deadline:
        time.sleep(0.1)
    metered = _metered(scene.registry, said.keys())
    wrong = {i: (counts, metered.get(i)) for i, counts in said.items() if metered.get(i) != counts}
    for line in (*failed[:8], *held, *dead(running.gateway), *map(str, list(wrong.items())[:5])):
        _say(f"fault: {line}")
    note = f"{dict(sorted(statuses.items()))} in {time.monotonic() - began:.0f} s"
    return [
        _row("hostile: requests", statuses.total(), "", note),
        _row("hostile: answered with 5xx", len(failed), "≤0"),
        _row("hostile: held afterwards", len(held), "≤0"),
        _row("hostile: threads and tasks dead", len(dead(running.gateway)), "≤0"),
        _row("hostile: whole answers with a count", len(said), "≥20"),
        _row("hostile: metered otherwise", len(wrong), "≤0", "index, the engine's answer"),
    ]


def _counts(text: bytes) -> tuple[int, int] | None:
    """What a whole answer says it cost."""
    try:
        usage = json.loads(text)["usage"]
        if "prompt_tokens" in usage:
            return usage["prompt_tokens"], usage.get("completion_tokens", 0)
        read = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        if "input_tokens_details" in usage:  # responses: the cached ones are among them
            read = read[:1]
        return sum(usage.get(name) or 0 for name in read), usage["output_tokens"]
    except (ValueError, KeyError, TypeError):
        return None


def _metered(registry: Registry, ids: Any) -> dict[str, tuple[int, int]]:
    columns = usage_events.c
    query = sa.select(columns.request_id, columns.prompt_tokens, columns.completion_tokens)
    deadline = time.monotonic() + 60
    while True:
        with registry.database.read() as connection:
            found = {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}
        if ids <= found.keys() or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def _row(name: str, value: int, goal: str = "", note: str = "") -> Row:
    return figure(name, "", [value], goal=goal, note=note)


def _say(line: str) -> None:
    sys.stderr.write(f"shared_engine: {line}\n")


def main() -> int:
    """Run both; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--hostile", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # of clients that left
    rows: list[Row] = []
    with open_scene() as scene:
        if options.requests:
            expected = asyncio.run(alone(scene))
            _say(f"{options.requests} requests, {len(expected)} texts")
            rows += crowd(scene, expected, options.requests, options.seed)
        if options.hostile:
            _say(f"{options.hostile} hostile requests")
            rows += hostile(scene, options.hostile, options.seed)
    show("Two gateways on one vLLM", rows, name="shared_engine")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
