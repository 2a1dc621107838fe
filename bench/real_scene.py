"""One real vLLM with three gateways on it and two releases: what `bench.real_engine` runs on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from adapterworks.gateway.config.engines import LocalEngine
from adapterworks.gateway.config.tables import FairnessTable, GatewayConfig
from adapterworks.gateway.engines.local import LocalEngine as Local
from adapterworks.gateway.engines.plan import engine_specs
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from bench.random_lora import make_releases, publish
from tests.conftest import BASES, MODEL
from tests.gateway.running import Launcher, Loop, Running

TOKENS = 4
# An answer whose second best token is this close, in nats, may differ in another batch by rounding.
MARGIN = 0.02
SUBJECTS = ("the moon", "a river", "my garden", "the market", "an engine", "the sea", "a letter")
SLOTS = 4
Texts = dict[tuple[str, str], str]  # by digest and prompt


@dataclass(frozen=True)
class Scene:
    """Gateways on one engine, and what they serve; `fair` and `fifo` take `SLOTS` at once."""

    registry: Registry
    engine: Local
    wide: Running
    fair: Running
    fifo: Running
    keys: tuple[str, str]
    digests: tuple[str, str]

    def ask(self, session: aiohttp.ClientSession, **body: Any) -> Any:
        """A completion from the gateway as it is by default, as the quiet tenant."""
        headers = {"authorization": f"Bearer {self.keys[0]}"}
        fields = {"temperature": 0, "max_tokens": TOKENS, "ignore_eos": True, **body}
        return session.post(f"{self.wide.url}/v1/completions", json=fields, headers=headers)


@contextmanager
def open_scene() -> Iterator[Scene]:
    """Start all of it; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="adapterworks-real-") as folder:
        home = Path(folder)
        bases = BaseStore(BASES)
        base = bases.ensure(MODEL)
        registry = Registry.open(
            database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
        )
        say("two random adapters and their fingerprints")
        made = make_releases(base, home / "made", 2, rank=16)
        first, second = (publish(registry, m, base, "flip", n).digest for n, m in enumerate(made))
        registry.promote("flip", 1, "prod", who="bench")
        admin = TenantAdmin(registry.database, who="bench")
        quiet, flood = (
            admin.add(name, allow=("*",), limits=Limits())[1].text for name in ("quiet", "flood")
        )
        config = GatewayConfig(engines=(LocalEngine(),))
        spec = engine_specs(config, bases, [])[0]
        engine = Local(spec, run=home, supervisor=config.supervisor, request_seconds=120.0)
        loop = Loop()
        launcher = Launcher(loop)
        try:
            say("starting vLLM")
            loop.run(engine.start())
            loop.run(engine.ready())
            gateways = [
                launcher.gateway(
                    registry,
                    [engine],
                    home / f"spool-{number}",
                    config.model_copy(update={"fairness": FairnessTable(on=on, slots=slots)}),
                    start_engines=False,
                )
                for number, (on, slots) in enumerate(((True, None), (True, SLOTS), (False, SLOTS)))
            ]
            yield Scene(registry, engine, *gateways, (quiet, flood), (first, second))
        finally:
            launcher.close()
            loop.run(engine.stop())
            loop.close()
            registry.close()


async def alone(scene: Scene) -> Texts:
    """What each digest answers to each prompt when nothing else runs; only clear-cut answers."""
    texts: Texts = {}
    async with aiohttp.ClientSession() as session:
        for subject in SUBJECTS:
            prompt = f"Write one sentence about {subject}."
            found = {}
            for digest in scene.digests:
                body = {"model": f"flip@{digest}", "prompt": prompt, "logprobs": 2}
                async with scene.ask(session, **body) as answer:
                    choice = (await answer.json())["choices"][0]
                if _margin(choice["logprobs"]["top_logprobs"]) >= MARGIN:
                    found[digest, prompt] = choice["text"]
            if len(found) == 2 and len(set(found.values())) == 2:
                texts |= found
    return texts


def _margin(steps: list[dict[str, float]]) -> float:
    """The smallest distance of the best token from the second, in nats."""
    best = [sorted(step.values(), reverse=True) for step in steps]
    return min(first - second for first, second, *_ in best)


def say(line: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(f"real_engine: {line}\n")
