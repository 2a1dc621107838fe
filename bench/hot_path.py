"""From an alias move to an answer of the new version, without engine and proof: where ours goes.

A gateway of this process on the tests' stand-in engine, which loads at once; proofs are off. The
releases have the bytes of a LoRA of rank 16 on every linear layer. What `bench.hot_load` measures
on a real engine is this, the engine's load call, the proof and a first token.

    python -m bench.hot_path [--moves 15]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.manifests.digests import digest_file
from adapterworks.registry.registry import Registry
from bench.report import Row, figure, ratios, show
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import BASE, draft

ADAPTER_BYTES = 19_600_000  # rank 16 on all linear layers of SmolLM2-135M, float32
GOAL = "≤3"


class _Timed(StandIn):
    """Notes when each load arrives."""

    arrived = 0.0

    async def _load(self, request: Request) -> Response:
        self.arrived = time.perf_counter()
        return await super()._load(request)


@dataclass
class Measured:
    """Milliseconds, an entry a move."""

    to_load: list[float] = field(default_factory=list)
    to_count: list[float] = field(default_factory=list)
    to_answer: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    copied: list[float] = field(default_factory=list)


def run(moves: int) -> list[Row]:
    """Publish, serve, move, measure."""
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="adapterworks-path-") as folder:
        root = Path(folder)
        with _served(root, moves) as (registry, running, engine):
            for number in range(2, moves + 2):
                _move(registry, running, engine, number, measured)
                measured.copied.append(_copied(root / "made" / str(number) / "servable"))
    m = measured
    return [
        figure("move → load call", "ms", m.to_load, note="noticed, resolved, checked out"),
        figure("load call → it counts", "ms", m.to_count),
        figure("it counts → answered", "ms", m.to_answer),
        figure("move → answered", "ms", m.whole),
        figure("an answer of a warm one", "ms", m.warm),
        figure("copying and hashing its bytes", "ms", m.copied),
        figure(
            "move → load call ÷ copying and hashing its bytes",
            "×",
            ratios(m.to_load, m.copied),
            goal=GOAL,
        ),
    ]


@contextmanager
def _served(root: Path, moves: int) -> Iterator[tuple[Registry, Running, _Timed]]:
    loop = Loop()
    launcher = Launcher(loop)
    home = root / "home"
    url = f"sqlite:///{home / 'index.db'}"
    try:
        with Registry.open(database=url, blobs=str(home / "blobs"), home=home) as registry:
            for number in range(1, moves + 2):
                files = root / "made" / str(number) / "servable"
                files.mkdir(parents=True)
                (files / "adapter_model.safetensors").write_bytes(os.urandom(ADAPTER_BYTES))
                (files / "adapter_config.json").write_text('{"r": 16}')
                registry.publish(files.parent, draft(number), who="bench")
            registry.promote("medical", 1, "prod", who="bench")
            engine = _Timed("base")
            base = ServedBase("base", "base", BASE.digest)
            config = GatewayConfig(open=True, trust=TrustTable(proof="off"))
            remote = launcher.standin(base, engine, capacity=moves + 4)
            running = launcher.gateway(registry, [remote], root / "spool", config)
            running.wait_ready()
            _ask(running)
            yield registry, running, engine
            launcher.close()
    finally:
        loop.close()


def _move(
    registry: Registry, running: Running, engine: _Timed, number: int, measured: Measured
) -> None:
    before = _ask(running)
    began = time.perf_counter()
    registry.promote("medical", number, "prod", who="bench")
    moved = time.perf_counter()
    with running.http() as http:
        while http.get("/v1/models/medical").headers["x-adapter-digest"] == before:
            time.sleep(0.002)
    counts = time.perf_counter()
    assert _ask(running) != before
    answered = time.perf_counter()
    measured.to_load.append(1e3 * (engine.arrived - moved))
    measured.to_count.append(1e3 * (counts - engine.arrived))
    measured.to_answer.append(1e3 * (answered - counts))
    measured.whole.append(1e3 * (answered - began))
    began = time.perf_counter()
    _ask(running)
    measured.warm.append(1e3 * (time.perf_counter() - began))


def _ask(running: Running) -> str:
    """The digest that answers."""
    body = {"model": "medical", "prompt": "Once", "max_tokens": 1}
    with running.http() as http:
        answer = http.post("/v1/completions", json=body)
    answer.raise_for_status()
    return answer.headers["x-adapter-digest"]


def _copied(folder: Path) -> float:
    began = time.perf_counter()
    source = folder / "adapter_model.safetensors"
    copy = folder.parent / "copy"
    copy.write_bytes(source.read_bytes())
    digest_file(copy)
    copy.unlink()
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moves", type=int, default=15)
    show("From an alias move to an answer", run(parser.parse_args().moves), name="hot_path")
