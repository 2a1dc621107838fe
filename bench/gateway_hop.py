"""What the gateway costs an adapter's request: direct, and through proxies, in one run.

Same upstream, same load. Through ours an adapter is asked for by a tenant with limits on requests,
tokens, concurrency and the month; LiteLLM has a key with the same; Envoy does nothing but pass
bytes on, which is about what a hop costs at least. Every figure is a ratio of sides that take turns
in one run, or processor time of the proxy's own processes, so that the load generator beside it
does not blur it. (`bench.hop` has the sides and the client.)

    python -m bench.gateway_hop [--without litellm] [--beside ../older-checkout]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.hop.client import Client, request
from bench.hop.others import envoy, litellm
from bench.hop.ours import gateway
from bench.hop.side import BASE, Side, process
from bench.report import Row, figure, percentile, show
from bench.serving import free_port

ROUNDS, SECONDS = 5, 1.5
# Requests in flight, and tokens of a stream then: 256 of 16 tokens are 3,200 events a second.
LEVELS = {1: 128, 16: 128, 256: 16}


@dataclass(frozen=True)
class Whole:
    """Whole answers at one level: their seconds, and the proxy's CPU seconds a request."""

    seconds: list[float]
    cpu: float


@dataclass(frozen=True)
class Streams:
    """Streams at one level: events a second, and the proxy's CPU seconds an event."""

    speed: float
    cpu: float


Found = dict[tuple[str, int], list[Whole]]
FoundStreams = dict[tuple[str, int], list[Streams]]


def run(
    *,
    others: Sequence[str] = ("envoy", "litellm"),
    beside: Path | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> list[Row]:
    """Measure and return the rows.

    Args:
        beside: another checkout, whose gateway is measured too.
    """
    with contextlib.ExitStack() as stack:
        port = free_port()
        upstream = f"http://127.0.0.1:{port}"
        arguments = [sys.executable, "-m", "bench.upstream", str(port), BASE]
        stack.enter_context(process(arguments, f"{upstream}/health"))
        sides = [Side("direct", upstream, BASE, "none"), stack.enter_context(gateway(upstream))]
        if beside is not None:
            sides.append(stack.enter_context(gateway(upstream, "before", beside.resolve())))
        if "envoy" in others:
            sides.append(stack.enter_context(envoy(upstream)))
        if "litellm" in others:
            sides.append(stack.enter_context(litellm(upstream)))
        return uvloop.run(_measure(sides, rounds, seconds))


async def _measure(sides: list[Side], rounds: int, seconds: float) -> list[Row]:
    wholes: Found = defaultdict(list)
    streams: FoundStreams = defaultdict(list)
    for number in range(-1, rounds):
        for side in sides if number % 2 else reversed(sides):
            for level, tokens in LEVELS.items():
                whole = await _whole(side, level, seconds if number >= 0 else 0.3)
                streamed = await _streams(side, level, tokens)
                if number >= 0:
                    wholes[side.name, level].append(whole)
                    streams[side.name, level].append(streamed)
    rows = []
    for side in sides[1:]:
        for level in LEVELS:
            rows += _of_side(side.name, level, wholes, streams)
    for side in sides[2:]:
        rows += _compared(side.name, wholes, streams)
    return rows


async def _whole(side: Side, level: int, seconds: float) -> Whole:
    """Keep `level` requests in flight for so many seconds."""
    clients = [await Client.connect(side) for _ in range(level)]
    asked = request(side, tokens=128, stream=False)
    before, end = side.cpu(), time.perf_counter() + seconds

    async def keep_asking(client: Client) -> list[float]:
        found = []
        while not found or time.perf_counter() < end:
            found.append(await client.ask(asked))
        return found

    found = await asyncio.gather(*(keep_asking(client) for client in clients))
    used = side.cpu() - before
    for client in clients:
        client.close()
    every = [value for values in found for value in values]
    return Whole(every, used / len(every))


async def _streams(side: Side, level: int, tokens: int) -> Streams:
    """One stream a client, all at once."""
    clients = [await Client.connect(side) for _ in range(level)]
    asked = request(side, tokens=tokens, stream=True)
    before, began = side.cpu(), time.perf_counter()
    await asyncio.gather(*(client.ask(asked) for client in clients))
    took, used = time.perf_counter() - began, side.cpu() - before
    events = sum(client.events for client in clients)
    for client in clients:
        client.close()
    return Streams(events / took, used / events)


def _of_side(name: str, level: int, wholes: Found, streams: FoundStreams) -> list[Row]:
    ours = name == "gateway"
    here, direct = wholes[name, level], wholes["direct", level]
    pairs = list(zip(streams[name, level], streams["direct", level], strict=True))
    rows = [
        figure(f"{name}: added p{percent}, c={level}", "ms", _added(here, direct, percent))
        for percent in (50, 99)
    ]
    return [
        *rows,
        figure(f"{name}: CPU a request, c={level}", "µs", [1e6 * one.cpu for one in here]),
        figure(
            f"{name}: streams ÷ direct, c={level}",
            "×",
            [one.speed / other.speed for one, other in pairs],
            goal="≥0.99" if ours and level < 256 else "",
            note="events a second",
        ),
        figure(
            f"{name}: CPU an event, c={level}",
            "µs",
            [1e6 * one.cpu for one in streams[name, level]],
        ),
    ]


def _compared(name: str, wholes: Found, streams: FoundStreams) -> list[Row]:
    """Ours beside another proxy, round by round."""
    goals: dict[str, tuple[str, str, str]] = {
        "litellm": ("≤0.04", "≤0.067", "≥30"),
        "envoy": ("≤3", "", "≥0.25"),
    }
    of_p50, of_p99, of_cpu = goals.get(name, ("", "", ""))
    rows = []
    for level in LEVELS:
        direct, ours, theirs = (wholes[side, level] for side in ("direct", "gateway", name))
        for percent, goal in ((50, of_p50), (99, of_p99)):
            pairs = zip(_added(ours, direct, percent), _added(theirs, direct, percent), strict=True)
            what = f"gateway ÷ {name}: added p{percent}, c={level}"
            goal = goal if level == 1 else ""
            rows.append(figure(what, "×", [a / b for a, b in pairs], goal=goal))
        cores = [b.cpu / a.cpu for a, b in zip(ours, theirs, strict=True)]
        goal = of_cpu if level == 16 else ""
        what = f"gateway ÷ {name}: requests a core, c={level}"
        rows.append(figure(what, "×", cores, goal=goal))
        both = zip(streams["gateway", level], streams[name, level], strict=True)
        what = f"gateway ÷ {name}: events a core, c={level}"
        rows.append(figure(what, "×", [b.cpu / a.cpu for a, b in both]))
    return rows


def _added(here: list[Whole], direct: list[Whole], percent: int) -> list[float]:
    """Milliseconds, a round each."""
    return [
        1e3 * (percentile(a.seconds, percent) - statistics.median(b.seconds))
        if percent == 50
        else 1e3 * (percentile(a.seconds, percent) - percentile(b.seconds, percent))
        for a, b in zip(here, direct, strict=True)
    ]


def main() -> None:
    """Measure, print, and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--without", nargs="*", default=[], choices=["envoy", "litellm"])
    parser.add_argument("--beside", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each level and side")
    options = parser.parse_args()
    others = [name for name in ("envoy", "litellm") if name not in options.without]
    rows = run(others=others, beside=options.beside, rounds=options.rounds, seconds=options.seconds)
    show("The gateway's hop, of an adapter's request", rows, name="gateway_hop")


if __name__ == "__main__":
    main()
