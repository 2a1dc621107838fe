"""From an alias move to the new version's first token, beside the engine's own load call.

One gateway with one real vLLM. Another process moves `hot:prod` to a version that the engine has
never seen (`Registry.promote`, as `adapters promote` does). The gateway loads and proves it while
the old one answers; it is watched until it names the new version, and asked at once. All the while
a stream of another adapter runs; its gaps say what a load costs others. In turn with the moves, the
engine is given a comparable adapter by its own load call, past the gateway, and a warm adapter is
asked through it.

What the gateway adds is what is left of the whole when the engine's own load call, the proof and a
warm adapter's first token are taken away; the proof, which no other server makes, is stated apart.

    python -m bench.hot_load [--moves 12]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp

from adapterworks.app import App
from bench.apart import settle
from bench.random_lora import make_releases, publish
from bench.report import Row, figure, percentile, ratios, show
from bench.serving import engine_process, resident, serving

MODEL = "smollm2-135m-instruct"
RANK = 16
GOAL = "≤150"
WHOLE_GOAL, OWN_GOAL = "≤15", "≤1.5"  # times the engine's own load call
QUIET_SECONDS = 2.0
POLL_SECONDS = 0.01  # more often, the asking itself would take what the load needs
Span = tuple[float, float]


@dataclass
class Measured:
    """Milliseconds, one entry a move; spans are monotonic seconds."""

    promote: list[float] = field(default_factory=list)
    notice: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    proof: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    gaps: list[Span] = field(default_factory=list)
    moves: list[Span] = field(default_factory=list)
    loads: list[Span] = field(default_factory=list)
    quiet: list[Span] = field(default_factory=list)


def run(moves: int) -> list[Row]:
    """Publish, serve, measure."""
    with tempfile.TemporaryDirectory(prefix="adapterworks-hot-") as folder:
        home = Path(folder)
        settle(home)
        # Nothing is evicted: what is measured is a load, not what had to go for it.
        os.environ["ADAPTERS_GATEWAY_RESIDENCY__MAX_CPU_LORAS"] = str(2 * moves + 8)
        _say("two random adapters and their fingerprints")
        spare = _publish_all(home, moves)
        with serving(home) as url:
            return _rows(asyncio.run(_Scene(url, home, spare).run(moves)))


def _publish_all(home: Path, moves: int) -> Path:
    """`hot` with a version a move and one to begin with, and `other`; returns an adapter's files.

    Neighbouring versions have different weights.
    """
    app = App()
    base, registry = app.bases.ensure(MODEL), app.registry
    made = make_releases(base, home / "made", 2, RANK)
    # One more than is moved to: the newest is loaded when the gateway starts.
    for number in range(moves + 2):
        publish(registry, made[number % 2], base, "hot", number)
    publish(registry, made[0], base, "other", 0)
    for name in ("hot", "other"):
        registry.promote(name, 1, "prod", who="bench")
    app.close()
    return made[0] / "servable"


def _mover(commands: Connection) -> None:
    """A process of its own: moves `hot:prod` and says when the call began and ended."""
    registry = App().registry
    while version := commands.recv():
        began = time.monotonic()
        registry.promote("hot", version, "prod", who="bench")
        commands.send((began, time.monotonic()))


class _Scene:
    """The running gateway, its engine's own door, and the process that moves the alias."""

    def __init__(self, url: str, home: Path, spare: Path) -> None:
        self._url, self._home, self._spare = url, home, spare
        self._measured = Measured()
        server = engine_process()
        arguments = server.cmdline()
        self._socket = arguments[arguments.index("--uds") + 1]
        self._engine_key = server.environ()["VLLM_API_KEY"]
        spawn = multiprocessing.get_context("spawn")
        self._mover, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_mover, args=(theirs,))

    async def run(self, moves: int) -> Measured:
        """All moves, in turn with direct loads."""
        self._process.start()
        try:
            async with aiohttp.ClientSession() as session, self._direct() as engine:
                await self._first_token(session, "hot", "to begin with")
                stream = asyncio.create_task(self._stream(session))
                for number in range(1, moves + 1):
                    sides = [self._move(session, number), self._load(session, engine, number)]
                    for side in sides if number % 2 else reversed(sides):
                        began = time.monotonic()
                        await asyncio.sleep(QUIET_SECONDS)
                        self._measured.quiet.append((began, time.monotonic()))
                        await side
                    _say(f"move {number} of {moves}")
                stream.cancel()
                await asyncio.gather(stream, return_exceptions=True)
        finally:
            self._mover.send(None)
            self._process.join()
        return self._measured

    async def _move(self, session: aiohttp.ClientSession, number: int) -> None:
        """Move the alias; ask as soon as the gateway names the new version."""
        before = await self._digest(session)
        self._mover.send(number + 1)
        while await self._digest(session) == before:  # noqa: ASYNC110 (it has no event for us)
            await asyncio.sleep(POLL_SECONDS)
        noticed = time.monotonic()
        began, returned = self._mover.recv()
        digest, answered = await self._first_token(session, "hot", f"move {number}")
        assert digest != before
        proof = (await asyncio.to_thread(resident, "digest"))[digest]["proof"]
        measured = self._measured
        measured.moves.append((began, answered))
        measured.promote.append(1e3 * (returned - began))
        measured.notice.append(1e3 * (noticed - began))
        measured.cold.append(1e3 * (answered - noticed))
        measured.total.append(1e3 * (answered - began))
        measured.proof.append(proof["milliseconds"])
        measured.tokens.append(proof["tokens"])

    async def _load(
        self, session: aiohttp.ClientSession, engine: aiohttp.ClientSession, number: int
    ) -> None:
        """A comparable adapter by the engine's own call; then a warm one through the gateway."""
        folder = self._home / "direct" / str(number)
        shutil.copytree(self._spare, folder)
        name = {"lora_name": f"direct-{number}", "lora_path": str(folder)}
        began = time.monotonic()
        async with engine.post("/v1/load_lora_adapter", json=name) as answer:
            await answer.read()
            answer.raise_for_status()
        loaded = time.monotonic()
        self._measured.loads.append((began, loaded))
        self._measured.direct.append(1e3 * (loaded - began))
        async with engine.post("/v1/unload_lora_adapter", json=name) as answer:
            await answer.read()
        await asyncio.sleep(0.3)
        began = time.monotonic()
        _, answered = await self._first_token(session, "hot", f"warm {number}")
        self._measured.warm.append(1e3 * (answered - began))

    async def _digest(self, session: aiohttp.ClientSession) -> str:
        """The version that the gateway would answer with now; loads nothing."""
        async with session.get(f"{self._url}/v1/models/hot") as answer:
            await answer.read()
            return answer.headers["x-adapter-digest"]

    async def _first_token(
        self, session: aiohttp.ClientSession, model: str, text: str
    ) -> tuple[str, float]:
        """The digest that a streamed answer is from, and when its first token came."""
        # A prompt of its own each time: nothing of it is in the engine's cache.
        body = {"model": model, "prompt": f"{text}: the capital of", "max_tokens": 1}
        async with self._completion(session, body) as answer:
            await answer.content.readline()
            first = time.monotonic()
            await answer.read()
            return answer.headers["x-adapter-digest"], first

    async def _stream(self, session: aiohttp.ClientSession) -> None:
        """Another adapter's answers, one after the other; keeps the gaps between tokens."""
        body = {"model": "other", "prompt": "Once", "max_tokens": 1500, "ignore_eos": True}
        while True:
            last: float | None = None
            async with self._completion(session, body) as answer:
                async for line in answer.content:
                    if line.startswith(b"data: {"):
                        now = time.monotonic()
                        if last is not None:
                            self._measured.gaps.append((last, now))
                        last = now

    @asynccontextmanager
    async def _completion(
        self, session: aiohttp.ClientSession, body: dict[str, Any]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._url}/v1/completions"
        timeout = aiohttp.ClientTimeout(total=None)
        fields = {"temperature": 0, "stream": True, **body}
        async with session.post(url, json=fields, timeout=timeout) as answer:
            answer.raise_for_status()
            yield answer

    @asynccontextmanager
    async def _direct(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client of the engine itself."""
        async with aiohttp.ClientSession(
            "http://engine",
            connector=aiohttp.UnixConnector(self._socket, force_close=True),
            headers={"authorization": f"Bearer {self._engine_key}"},
        ) as session:
            yield session


def _rows(measured: Measured) -> list[Row]:
    m = measured
    ours = [
        total - proof - direct - warm
        for total, proof, direct, warm in zip(m.total, m.proof, m.direct, m.warm, strict=True)
    ]
    quiet, moving, loading = (_gaps(m.gaps, spans) for spans in (m.quiet, m.moves, m.loads))
    return [
        figure("move → first token", "ms", m.total),
        figure("the move itself", "ms", m.promote, note="`promote` in another process"),
        figure("move → the new version counts", "ms", m.notice, note="noticed, loaded, proved"),
        figure("it counts → first token", "ms", m.cold),
        figure("proof", "ms", m.proof),
        figure("proof, engine tokens", "", m.tokens),
        figure("engine's own load call", "ms", m.direct, note="direct, same size"),
        figure("first token of a warm adapter", "ms", m.warm, note="through the gateway"),
        figure(
            "load and proof ÷ the engine's load call",
            "×",
            ratios(m.notice, m.direct),
            goal=WHOLE_GOAL,
            note="move → the new version counts",
        ),
        figure(
            "move → first token ÷ the engine's load call",
            "×",
            ratios(m.total, m.direct),
            goal=WHOLE_GOAL,
        ),
        figure(
            "the same without the proof",
            "×",
            ratios(
                [total - proof for total, proof in zip(m.total, m.proof, strict=True)], m.direct
            ),
            goal=OWN_GOAL,
        ),
        figure(
            "the same ÷ the load call and a warm first token",
            "×",
            ratios(
                [total - proof for total, proof in zip(m.total, m.proof, strict=True)],
                [direct + warm for direct, warm in zip(m.direct, m.warm, strict=True)],
            ),
            note="of both sides a first token beside the stream",
        ),
        figure(
            "hot load over the engine's own",
            "ms",
            ours,
            goal=GOAL,
            note="move → first token − proof − load call − warm first token",
        ),
        *_gap_rows(quiet),
        *_gap_ratios("a hot load", moving, quiet),
        *_gap_ratios("the engine's load call", loading, quiet),
    ]


def _gap_rows(quiet: list[float]) -> list[Row]:
    return [
        figure(f"others' gap, nothing loads, p{p}", "ms", [percentile(quiet, p)]) for p in (50, 99)
    ]


def _gap_ratios(name: str, gaps: list[float], quiet: list[float]) -> list[Row]:
    return [
        figure(
            f"others' gap during {name}, p{percent}",
            "×",
            [percentile(gaps, percent) / percentile(quiet, percent)],
            note=f"{percentile(gaps, percent):.1f} ms, {len(gaps)} gaps",
        )
        for percent in (50, 99)
    ]


def _gaps(gaps: list[Span], spans: list[Span]) -> list[float]:
    """Milliseconds of the gaps that overlap one of the spans."""
    return [
        1e3 * (end - begin)
        for begin, end in gaps
        if any(begin < stop and end > start for start, stop in spans)
    ]


def _say(line: str) -> None:
    sys.stderr.write(f"hot_load: {line}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moves", type=int, default=12)
    show("Hot load", run(parser.parse_args().moves), name="hot_load")
