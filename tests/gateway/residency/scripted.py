"""As much of an engine as residency and proof look at, in one event loop and without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from adapterworks.gateway.engines.engine import Engine, Health
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.verdict import Proof
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.registry.releases.release import Release
from tests.registry.releases import draft


def release(name: str) -> Release:
    """A release of that name; its digest is its own."""
    return Release.from_draft(draft(1, name), {})


@dataclass
class Scripted:
    """An engine that loads what it is given, when the test lets it.

    Attributes:
        log: what happened, in order: `+a` loaded, `-a` unloaded, `seen a refused`.
        faults: what the next load of a name ends with.
        gates: a load or unload of a name waits for its event, if there is one.
    """

    slots: int = 2
    capacity: int = 3
    generation: int = 1
    state: str = "ready"
    id: str = "engine"
    log: list[str] = field(default_factory=list)
    faults: dict[str, AdapterworksError | Exception] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)
    most: int = 0

    def __post_init__(self) -> None:
        self.again: Callable[[], None] = lambda: None

    @property
    def health(self) -> Health:
        return Health(self.state, "", self.generation)  # type: ignore[arg-type]

    def on_ready(self, callback: Callable[[], None]) -> None:
        self.again = callback

    def restart(self) -> None:
        """The process is another one now, and holds nothing."""
        self.generation += 1
        self.loaded.clear()
        self.again()

    async def load(
        self, engine: Engine, release: Release, tell: Callable[[str], None] = lambda step: None
    ) -> Proof:
        name = release.name
        self.log.append(f"+{name}")
        self.loaded.add(name)
        self.most = max(self.most, len(self.loaded))
        await self._pass(name)
        if name in self.faults:
            raise self.faults.pop(name)
        return Proof("proved", divergence=0.001, separation=1.0)

    async def unload(self, engine: Engine, release: Release) -> None:
        await self._pass(f"-{release.name}")
        self.log.append(f"-{release.name}")
        self.loaded.discard(release.name)

    async def _pass(self, gate: str) -> None:
        await asyncio.sleep(0)
        if gate in self.gates:
            await self.gates[gate].wait()

    def residency(self, *, cold_wait: float = 5.0) -> Residency:
        """The adapters of this engine."""

        def observe(release: Release, outcome: str, seconds: float) -> None:
            assert 0.0 <= seconds < 60.0
            assert (seconds > 0.0) is (outcome != "evicted")
            self.log.append(f"seen {release.name} {outcome}")

        return Residency(
            cast(Engine, self), self.load, self.unload, cold_wait=cold_wait, observe=observe
        )


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def stages(residency: Residency) -> dict[str, str]:
    """What is held, by name."""
    return {entry.release.name: entry.stage for entry in residency.entries}


def engine_of(base: object) -> Engine:
    """An engine that only has a base."""
    return cast(Engine, SimpleNamespace(base=base))
