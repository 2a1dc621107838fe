"""What the gateway costs: direct, through the gateway, through LiteLLM's proxy, in one run.

Same upstream, same load, one key each. LiteLLM is installed from bench/litellm.lock into
.cache/litellm on first use. Requests per core are counted by the proxy's own CPU time, so the load
generator beside it does not blur them.

    python -m bench.gateway_hop [--without-litellm]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from bench.report import Row, figure, percentile, show
from bench.serving import ADAPTERS, end, free_port, wait_ready

ROOT = Path(__file__).resolve().parents[1]
MODEL = "smollm2-135m-instruct"
LITELLM = ROOT / ".cache" / "litellm"
ROUNDS, LATENCY_REQUESTS, LOAD_SECONDS, LOAD_CLIENTS, STREAMS = 5, 1000, 3.0, 16, 16


@dataclass(frozen=True)
class Side:
    """One way to the upstream: its URL, key and (for a proxy) its process."""

    name: str
    url: str
    key: str
    process: psutil.Process | None

    def cpu(self) -> float:
        """CPU seconds that the proxy's processes have used."""
        if self.process is None:
            return 0.0
        family = [self.process, *self.process.children(recursive=True)]
        return sum(p.cpu_times().user + p.cpu_times().system for p in family)


def run(*, litellm: bool = True) -> list[Row]:
    """Measure and return the rows."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        arguments = [sys.executable, "-m", "bench.upstream", str(port), MODEL]
        upstream = f"http://127.0.0.1:{port}"
        stack.enter_context(_process(arguments, f"{upstream}/health"))
        sides = [Side("direct", upstream, "none", None), stack.enter_context(_gateway(upstream))]
        if litellm:
            sides.append(stack.enter_context(_litellm(upstream)))
        return asyncio.run(_measure(sides))


async def _measure(sides: list[Side]) -> list[Row]:
    latency: dict[str, list[list[float]]] = {side.name: [] for side in sides}
    per_core: dict[str, list[float]] = {side.name: [] for side in sides}
    stream: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(-1, ROUNDS):
        for side in sides if number % 2 else reversed(sides):
            seconds = await _latencies(side, LATENCY_REQUESTS if number >= 0 else 50)
            before = side.cpu()
            answered = await _load(side, LOAD_SECONDS if number >= 0 else 1.0)
            used = side.cpu() - before
            tokens = await _streams(side)
            if number >= 0:
                latency[side.name].append(seconds)
                per_core[side.name].append(answered / used if used else 0.0)
                stream[side.name].append(tokens)
    rows = []
    for side in sides[1:]:
        goals = ("≤1", "≤3", "≥0.97") if side.name == "gateway" else ("", "", "")
        pairs = list(zip(latency[side.name], latency["direct"], strict=True))
        for percent, goal in ((50, goals[0]), (99, goals[1])):
            added = [1e3 * (percentile(a, percent) - percentile(b, percent)) for a, b in pairs]
            note = "through − direct, concurrency 1"
            rows.append(figure(f"{side.name}: added p{percent}", "ms", added, goal=goal, note=note))
        tokens_ratio = [a / b for a, b in zip(stream[side.name], stream["direct"], strict=True)]
        note = f"through ÷ direct, {STREAMS} streams"
        rows.append(figure(f"{side.name}: stream", "", tokens_ratio, goal=goals[2], note=note))
        note = f"per CPU second of the proxy, concurrency {LOAD_CLIENTS}"
        rows.append(figure(f"{side.name}: requests per core", "/s", per_core[side.name], note=note))
    if len(sides) == 3:
        both = zip(per_core["gateway"], per_core["litellm"], strict=True)
        rows.append(
            figure(
                "gateway ÷ litellm: requests per core", "×", [a / b for a, b in both], goal="≥10"
            )
        )
    return rows


async def _latencies(side: Side, count: int) -> list[float]:
    async with _client(side) as client:
        values = []
        for _ in range(count):
            start = time.perf_counter()
            await _ask(client, side)
            values.append(time.perf_counter() - start)
        return values


async def _load(side: Side, seconds: float) -> int:
    """Answers within `seconds` at the fixed concurrency."""
    end = time.perf_counter() + seconds
    async with _client(side) as client:

        async def worker() -> int:
            count = 0
            while time.perf_counter() < end:
                await _ask(client, side)
                count += 1
            return count

        return sum(await asyncio.gather(*(worker() for _ in range(LOAD_CLIENTS))))


async def _streams(side: Side) -> float:
    """Streamed events a second over all streams."""
    async with _client(side) as client:

        async def one() -> int:
            events = 0
            async with client.post(_url(side), json=_body(stream=True)) as response:
                response.raise_for_status()
                async for line in response.content:
                    events += line.startswith(b"data: {")
            return events

        start = time.perf_counter()
        counts = await asyncio.gather(*(one() for _ in range(STREAMS)))
        return sum(counts) / (time.perf_counter() - start)


async def _ask(client: aiohttp.ClientSession, side: Side) -> None:
    async with client.post(_url(side), json=_body(stream=False)) as response:
        await response.read()
        response.raise_for_status()


def _client(side: Side) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"authorization": f"Bearer {side.key}"})


def _url(side: Side) -> str:
    return f"{side.url}/v1/chat/completions"


def _body(*, stream: bool) -> dict[str, object]:
    question = "Give the ICD-10-CM category for: amebic balanitis"
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 128,
        "stream": stream,
    }


@contextlib.contextmanager
def _gateway(upstream: str) -> Iterator[Side]:
    """Our gateway with one tenant in front of the upstream."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "ADAPTERS_HOME": home,
            "ADAPTERS_BASES": str(ROOT / ".cache" / "bases"),
        }
        tenant = [ADAPTERS, "tenant", "add", "bench", "--allow", "*", "--json"]
        added = subprocess.run(tenant, env=environment, check=True, capture_output=True, text=True)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve = [ADAPTERS, "serve", "--port", str(port), "--engine", upstream, "--base", MODEL]
        with _process(serve, f"{url}/ready", environment) as process:
            yield Side("gateway", url, _key(added.stdout), psutil.Process(process.pid))


def _key(output: str) -> str:
    import json

    document = json.loads(output)
    key = document["key"]
    return str(key["key"] if isinstance(key, dict) else key)


@contextlib.contextmanager
def _litellm(upstream: str) -> Iterator[Side]:
    """LiteLLM's proxy with its master key in front of the same upstream."""
    command = _install_litellm()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(
            f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n"
            f"      model: openai/{MODEL}\n      api_base: {upstream}/v1\n      api_key: none\n"
            "general_settings:\n  master_key: sk-bench\nlitellm_settings:\n  telemetry: false\n"
        )
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve = [str(command), "--config", str(config), "--host", "127.0.0.1"]
        serve += ["--port", str(port), "--num_workers", "1"]
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        with _process(serve, f"{url}/health/liveliness", environment) as process:
            yield Side("litellm", url, "sk-bench", psutil.Process(process.pid))


def _install_litellm() -> Path:
    command = LITELLM / "bin" / "litellm"
    if not command.exists():
        sys.stderr.write(f"bench: installing LiteLLM into {LITELLM} (once)\n")
        venv.create(LITELLM, with_pip=True)
        pip = [LITELLM / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
        lock = ROOT / "bench" / "litellm.lock"
        subprocess.run([*pip, "-r", lock], check=True, stderr=subprocess.DEVNULL)
    return command


@contextlib.contextmanager
def _process(
    arguments: list[str], ready: str, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            arguments, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_ready(ready, process)
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-2000:])
            raise
        finally:
            end(process)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-litellm", action="store_true")
    options = parser.parse_args()
    rows = run(litellm=not options.without_litellm)
    show("The gateway's hop", rows, name="gateway_hop")
