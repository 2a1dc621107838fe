"""Which engine answers: the base's digest first, then adapter affinity, then load.

Invariant: the same digest goes to the same engine as long as that engine is not much busier than
the others (rendezvous hashing with bounded load), so an adapter is loaded in as few engines as its
traffic needs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.target import ServedBase, Target
from adapterworks.manifests.errors import NotFound, Unavailable

# An engine may carry this much more than its share before its adapters spill to the next one.
LOAD_FACTOR = 1.5


class EnginePool:
    """The engines behind one gateway."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)

    def bases(self) -> dict[str, ServedBase]:
        """Every served base by the name clients use.

        The first engine of a name keeps it; a base of another quantization is called
        `NAME-QUANTIZATION`, which also works for the first.
        """
        names: dict[str, ServedBase] = {}
        for engine in self.engines:
            base = engine.base
            names.setdefault(base.name, base)
            names.setdefault(f"{base.name}-{base.quantization}", base)
        return names

    def without_engine(self) -> dict[str, str]:
        """The bases that no engine can answer for now, by name, and in what state theirs are."""
        states: dict[str, set[str]] = {}
        names = {engine.base.digest: engine.base.name for engine in self.engines}
        for engine in self.engines:
            states.setdefault(engine.base.digest, set()).add(engine.health.state)
        return {
            names[digest]: ", ".join(sorted(of_base))
            for digest, of_base in states.items()
            if "ready" not in of_base
        }

    def route(self, target: Target) -> Engine:
        """The engine for this target.

        Raises:
            NotFound: no engine serves its base.
            Unavailable: those that do are not ready.
        """
        serving = [e for e in self.engines if e.base.digest == target.base_digest]
        if not serving:
            raise NotFound(
                f"no engine serves the base of `{target.ref}`",
                hint="start one with `adapters serve --base NAME`",
            )
        ready = [e for e in serving if e.health.state == "ready"]
        if not ready:
            raise Unavailable(
                f"the engine of `{target.ref}` is not ready: {serving[0].health.state}",
                hint="try again shortly",
                retry_after=10.0,
            )
        if target.digest is None:
            return min(ready, key=lambda engine: engine.inflight)
        total = sum(engine.inflight for engine in ready) + 1
        limit = math.ceil(LOAD_FACTOR * total / len(ready))
        ranked = _ranked(ready, target.digest)
        return next((e for e in ranked if e.inflight < limit), ranked[0])

    def home(self, base_digest: str, digest: str) -> Engine | None:
        """The engine that a digest is sent to when all are ready and idle."""
        engines = [e for e in self.engines if e.base.digest == base_digest]
        return _ranked(engines, digest)[0] if engines else None

    def ranked(self, base_digest: str, digest: str) -> list[Engine]:
        """The ready engines of a base in the order in which a digest is sent to them."""
        return _ranked(
            [e for e in self.engines if e.base.digest == base_digest and e.health.state == "ready"],
            digest,
        )


def _ranked(engines: Sequence[Engine], digest: str) -> list[Engine]:
    """By rendezvous hashing: each digest has an order of its own, and keeps it."""
    return sorted(engines, key=lambda engine: _score(engine.id, digest), reverse=True)


def _score(engine: str, digest: str) -> bytes:
    return hashlib.sha256(f"{engine}\n{digest}".encode()).digest()
