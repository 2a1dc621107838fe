"""Which engine answers: the base's digest first, then as `routing.py` decides.

Invariant: the same digest goes to the same engine as long as that engine is not full, so an adapter
is loaded in as few engines as its traffic needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.routing import Ranking, Seen, choose, least_busy
from adapterworks.gateway.engines.target import ServedBase, Target
from adapterworks.manifests.errors import NotFound, Unavailable


class EnginePool:
    """The engines behind one gateway; they can join and leave.

    Attributes:
        engines: those that requests are sent to.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines: tuple[Engine, ...] = ()
        self._arrange(engines)

    def join(self, engine: Engine) -> None:
        """Send requests to this engine too."""
        self._arrange([*self.engines, engine])

    def leave(self, engine: Engine) -> None:
        """Send an engine no further requests."""
        self._arrange([one for one in self.engines if one is not engine])

    def _arrange(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        self._of_base: dict[str, tuple[Engine, ...]] = {}
        for engine in self.engines:
            of_base = self._of_base.get(engine.base.digest, ())
            self._of_base[engine.base.digest] = (*of_base, engine)
        self._rankings = {
            base: Ranking([engine.id for engine in of_base])
            for base, of_base in self._of_base.items()
        }
        self._bases = self._named()

    def bases(self) -> dict[str, ServedBase]:
        """Every served base by the name clients use.

        The first engine of a name keeps it; a base of another quantization is called
        `NAME-QUANTIZATION`, which also works for the first.
        """
        return self._bases

    def _named(self) -> dict[str, ServedBase]:
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

    def route(
        self, target: Target, see: Callable[[Engine], Seen], *, but: Engine | None = None
    ) -> Engine:
        """The engine for this target.

        Args:
            see: what is seen of an engine now, for this target's adapter.
            but: an engine that is left out.

        Raises:
            NotFound: no engine serves its base.
            Unavailable: those that do are not ready.
        """
        serving = self._of_base.get(target.base_digest)
        if not serving:
            raise NotFound(
                f"no engine serves the base of `{target.ref}`",
                hint="start one with `adapters serve --base NAME`",
            )
        ranked = self.ranked(target.base_digest, target.digest)
        ready = [engine for engine in ranked if engine is not but]
        if not ready:
            raise Unavailable(
                f"the engine of `{target.ref}` is not ready: {serving[0].health.state}",
                hint="try again shortly",
                retry_after=10.0,
            )
        if target.digest is None:
            return least_busy(ready, see)
        return choose(ready, see)

    def home(self, base_digest: str, digest: str) -> Engine | None:
        """The engine that a digest is sent to when all are ready and none has it."""
        return next(iter(self._ordered(base_digest, digest)), None)

    def ranked(self, base_digest: str, digest: str | None) -> list[Engine]:
        """The ready engines of a base in the order in which a digest prefers them."""
        ordered = self._ordered(base_digest, digest)
        return [engine for engine in ordered if engine.health.state == "ready"]

    def _ordered(self, base_digest: str, digest: str | None) -> Sequence[Engine]:
        engines = self._of_base.get(base_digest, ())
        if digest is None or not engines:
            return engines
        return [engines[place] for place in self._rankings[base_digest].of(digest)]
