"""What a proof costs: one prefill a probe, beside one generated token a position, as it was asked.

One real vLLM, one adapter with the fingerprint of a build; both ways are asked in turn, with nobody
else at the engine and beside a stream of another adapter. The way that it was, until ADR 17, is
kept here: three positions of every probe, each a prompt of its own, in slices that double from one
prompt as long as the engine answers one within a tenth of a second.

    python -m bench.proof_cost [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapterworks.app import App
from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.engines.engine import Probe
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.local import LocalEngine
from adapterworks.gateway.engines.plan import engine_specs
from adapterworks.gateway.residency.proof import prove
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Release
from bench.apart import settle
from bench.random_lora import make_releases, publish
from bench.report import Row, figure, ratios, show

MODEL, RANK = "smollm2-135m-instruct", 16
POSITIONS, SLICE_SECONDS = 3, 0.2
GOAL = "≤0.125"


@dataclass
class Measured:
    """Of one scene (`quiet` or `streaming`): seconds and engine tokens, an entry a round."""

    old: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    old_tokens: list[float] = field(default_factory=list)
    new_tokens: list[float] = field(default_factory=list)


def run(rounds: int) -> list[Row]:
    """Publish, start the engine, measure."""
    with tempfile.TemporaryDirectory(prefix="adapterworks-proof-") as folder:
        home = Path(folder)
        settle(home)
        app = App()
        base = app.bases.ensure(MODEL)
        made = make_releases(base, home / "made", 2, RANK)
        releases = [
            app.registry.release(publish(app.registry, one, base, name, 0).digest)
            for one, name in zip(made, ("proved", "other"), strict=True)
        ]
        (spec,) = engine_specs(load_gateway_config(None, {}), app.bases, releases)
        first, scenes = asyncio.run(_measure(app, spec, releases, rounds))
        app.close()
    rows = [figure("first proof after the start", "s", [first])]
    for name, measured in scenes.items():
        rows += [
            figure(f"{name}: as it was", "s", measured.old),
            figure(f"{name}: one prefill a probe", "s", measured.new),
            figure(f"{name}: new ÷ old", "×", ratios(measured.new, measured.old), goal=GOAL),
        ]
    quiet = scenes["quiet"]
    rows.append(figure("engine tokens, as it was", "", quiet.old_tokens))
    rows.append(figure("engine tokens, one prefill a probe", "", quiet.new_tokens))
    return rows


async def _measure(
    app: App, spec: Any, releases: list[Release], rounds: int
) -> tuple[float, dict[str, Measured]]:
    config = load_gateway_config(None, {})
    engine = LocalEngine(
        spec, run=app.settings.home / "run", supervisor=config.supervisor, request_seconds=600.0
    )
    await engine.start()
    try:
        await engine.ready()
        for release in releases:
            folder = app.registry.checkout(release.digest, "servable")
            await engine.load(release.digest, folder)
        proved, other = releases
        fingerprint = app.registry.read(proved.digest, "fingerprint.json")

        async def new() -> int:
            return (await prove(engine, FORMS[LORA], proved, fingerprint)).tokens

        async def old() -> int:
            return await _as_it_was(engine, proved, json.loads(fingerprint))

        began = time.perf_counter()
        await new()
        first = time.perf_counter() - began
        scenes = {}
        for name in ("quiet", "streaming"):
            stream = asyncio.create_task(_stream(engine, other)) if name == "streaming" else None
            scenes[name] = measured = Measured()
            for number in range(rounds):
                for side in (old, new) if number % 2 else (new, old):
                    await asyncio.sleep(1.0 if stream else 0.0)
                    began = time.perf_counter()
                    tokens = await side()
                    times = measured.old if side is old else measured.new
                    counts = measured.old_tokens if side is old else measured.new_tokens
                    times.append(time.perf_counter() - began)
                    counts.append(float(tokens))
                sys.stderr.write(f"proof_cost: {name}, round {number + 1} of {rounds}\n")
            if stream is not None:
                stream.cancel()
                await asyncio.gather(stream, return_exceptions=True)
        return first, scenes
    finally:
        await engine.stop()


async def _as_it_was(engine: LocalEngine, release: Release, document: dict[str, Any]) -> int:
    """Ask as before ADR 17; returns the engine tokens."""
    prompts = [
        probe["token_ids"][: probe["positions"][i]]
        for probe in document["probes"]
        for i in _thinned(len(probe["positions"]))
    ]
    fields = {"model": release.digest, "cache_salt": "as it was"}
    done, tokens, size = 0, 0, 1
    while done < len(prompts):
        some = prompts[done : done + size]
        began = time.perf_counter()
        # A position after the prompt's end is the next token's: what is generated.
        probes = [Probe((*prompt, 0), (len(prompt),)) for prompt in some]
        _, cost = await engine._generate(fields, probes)
        seconds = time.perf_counter() - began
        done, tokens = done + len(some), tokens + cost
        if seconds < SLICE_SECONDS / 2:
            size *= 2
        elif seconds > SLICE_SECONDS:
            size = max(1, size // 2)
    return tokens


def _thinned(count: int) -> list[int]:
    return sorted({count - 1 - count * step // POSITIONS for step in range(POSITIONS)})


async def _stream(engine: LocalEngine, other: Release) -> None:
    """Another adapter's answers, one after the other."""
    body = {
        "model": other.digest, "prompt": "Once", "max_tokens": 1500, "temperature": 0,
        "ignore_eos": True, "stream": True,
    }  # fmt: skip
    while True:
        async with engine.post("/v1/completions", json.dumps(body).encode(), {}) as answer:
            async for _ in answer.content:
                pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    show("Proof", run(parser.parse_args().rounds), name="proof_cost")
