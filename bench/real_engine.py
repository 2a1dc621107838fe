"""What the tests show on a stand-in engine, shown on one real vLLM: flips, a kill, a flood.

1. An alias moves every 100 ms between two releases under 200 connections. No request may fail, and
   every answer must be the greedy text that the digest in its receipt gives alone.
2. The engine is killed with -9 in the middle of a stream. The client must get an error within a
   second; engine and adapters must come back by themselves, and the next answer be right.
3. One tenant floods, another asks one request after the other: alone, with fairness, in order of
   arrival. Gateways on the same engine, equal but for `fairness.on`.

Ends with 1 if any of it is not so. It takes 3 to 4 minutes.

    python -m bench.real_engine
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from dataclasses import replace

import aiohttp
import psutil

from adapterworks.gateway.http.status import describe
from bench.fair_gateway import Side, waits
from bench.real_scene import SLOTS, Scene, Texts, alone, open_scene, say
from bench.report import Row, figure, ratios, show

CONNECTIONS, FLIP_SECONDS = 200, 20.0
CROWD, QUIET_REQUESTS, ROUNDS = 32, 6, 1


def flips(scene: Scene, expected: Texts) -> list[Row]:
    """Move the alias under load; every answer must be its receipt's."""
    prompts = sorted({prompt for _, prompt in expected})
    stop = threading.Event()
    moves = 0
    failed: list[str] = []
    wrong: list[str] = []
    counts = dict.fromkeys(scene.digests, 0)

    def flip() -> None:
        nonlocal moves
        while not stop.wait(0.1):
            moves += 1
            scene.registry.promote("flip", 1 + moves % 2, "prod", who="bench")

    async def client(session: aiohttp.ClientSession, number: int, ended: float) -> None:
        while time.monotonic() < ended:
            number += 1
            prompt = prompts[number % len(prompts)]
            try:
                async with scene.ask(session, model="flip", prompt=prompt) as answer:
                    body = await answer.text()
            except aiohttp.ClientError as error:
                failed.append(repr(error))
                continue
            if answer.status != 200:
                failed.append(body)
                continue
            digest = answer.headers["x-adapter-digest"]
            counts[digest] += 1
            text = json.loads(body)["choices"][0]["text"]
            if text != expected[digest, prompt]:
                wrong.append(f"{digest[:19]} {prompt!r}: {text!r}")

    async def crowd() -> None:
        ended = time.monotonic() + FLIP_SECONDS
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(client(session, n, ended) for n in range(CONNECTIONS)))

    flipper = threading.Thread(target=flip)
    flipper.start()
    try:
        asyncio.run(crowd())
    finally:
        stop.set()
        flipper.join()
    for line in (failed + wrong)[:5]:
        say(f"fault: {line}")
    note = f"{CONNECTIONS} connections, {moves} moves, {len(prompts)} prompts"
    return [
        _count("flips: answers", sum(counts.values()), f"≥{CONNECTIONS}", note),
        _count("flips: of the digest that had fewer", min(counts.values()), "≥1"),
        _count("flips: requests that failed", len(failed), "≤0"),
        _count("flips: not the text of its receipt's digest", len(wrong), "≤0"),
    ]


async def kill(scene: Scene, expected: Texts) -> list[Row]:
    """Kill the engine under a stream; wait until everything has come back."""
    digest = scene.digests[0]
    prompt = next(p for d, p in expected if d == digest)
    ref = f"flip@{digest}"
    assert scene.engine.pid is not None
    (server,) = psutil.Process(scene.engine.pid).children()
    lines: list[str] = []
    async with aiohttp.ClientSession() as session:
        async with scene.ask(
            session, model=ref, prompt=prompt, max_tokens=1000, stream=True
        ) as answer:
            killed = 0.0
            async for line in answer.content:
                if line.startswith(b"data: "):
                    lines.append(line.decode())
                if len(lines) == 5 and not killed:
                    server.kill()
                    killed = time.monotonic()
        error_after = time.monotonic() - killed
        clean = '"error"' in lines[-1] and "broke off" in lines[-1]
        await _until_ready(session, scene, ready=False)
        say("the engine is down; waiting for it")
        await _until_ready(session, scene, ready=True)
        ready_after = time.monotonic() - killed
        while not _resident(scene, digest):  # nobody asks for it
            assert time.monotonic() - killed < 300, "the adapter did not come back"
            await asyncio.sleep(0.05)
        back_after = time.monotonic() - killed
        async with scene.ask(session, model=ref, prompt=prompt) as answer:
            text = (await answer.json())["choices"][0]["text"]
    return [
        figure("kill -9: stream ended with an error after", "s", [error_after], goal="≤1"),
        _count("kill -9: the error is OpenAI's, and ours", int(clean), "≥1", lines[-1][:60]),
        figure("kill -9: engine ready after", "s", [ready_after]),
        figure("kill -9: adapter loaded and proved after", "s", [back_after], note="unasked"),
        _count("kill -9: next answer as before", int(text == expected[digest, prompt]), "≥1"),
    ]


async def _until_ready(session: aiohttp.ClientSession, scene: Scene, *, ready: bool) -> None:
    while True:
        async with session.get(f"{scene.wide.url}/ready") as answer:
            if (answer.status == 200) == ready:
                return
        await asyncio.sleep(0.05)


def _resident(scene: Scene, digest: str) -> bool:
    adapters = describe(scene.wide.gateway, 0)["engines"][0]["adapters"]
    return any(
        a["digest"] == digest and a["state"] == "resident" and a["proof"]["state"] == "proved"
        for a in adapters
    )


def flood(scene: Scene) -> list[Row]:
    """The quiet tenant's waits, alone and beside a flood."""
    fair = Side(scene.fair.url, *scene.keys, crowd=CROWD, tokens=6, settle=3.0)
    fifo = replace(fair, url=scene.fifo.url)
    alone, beside, queued = waits(fair, fifo, ROUNDS, QUIET_REQUESTS)
    note = f"the other tenant keeps {CROWD} requests open, {SLOTS} slots"
    return [
        figure("flood: quiet p95, alone", "s", alone, note=note),
        figure("flood: quiet p95, fair", "s", beside),
        figure("flood: quiet p95, in order of arrival", "s", queued),
        figure("flood: fair ÷ alone", "×", ratios(beside, alone), goal="≤4"),
        figure("flood: in order of arrival ÷ fair", "×", ratios(queued, beside), goal="≥2"),
    ]


def _count(name: str, value: int, goal: str = "", note: str = "") -> Row:
    return figure(name, "", [value], goal=goal, note=note)


def main() -> int:
    """Run all three; 1 if a goal is missed."""
    began = time.monotonic()
    with open_scene() as scene:
        expected = asyncio.run(alone(scene))
        say(f"flips, {len(expected) // 2} prompts")
        rows = flips(scene, expected)
        say("flood")
        rows += flood(scene)
        say("kill -9")
        rows += asyncio.run(kill(scene, expected))
    minutes = (time.monotonic() - began) / 60
    show(f"One real engine, {minutes:.1f} min", rows, name="real_engine")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
