"""What one engine is to hold, asked for or not: pins, what it begins with, what it held before.

Invariant: where there are more pins than places none is loaded for being one: they would unload
each other's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.retries import Retries
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.registry.releases.release import Release

_log = logging.getLogger(__name__)


class Desired:
    """What one engine is to hold; loads run in the background, one after the other.

    Args:
        entries: what it holds, by digest.
        ensure: has one loaded.
        changed: told when one may be unloaded that might not before.
    """

    def __init__(
        self,
        engine: Engine,
        entries: Mapping[str, Entry],
        ensure: Callable[[Release], Awaitable[None]],
        changed: Callable[[], None],
        supervisor: Supervisor,
    ) -> None:
        self._engine, self._entries, self._ensure = engine, entries, ensure
        self._changed, self._supervisor = changed, supervisor
        self._pins: dict[str, Release] = {}
        self._first: tuple[Release, ...] = ()
        self._pins_told = False
        self._settled = False
        self._background: set[asyncio.Task[None]] = set()
        self._again: set[str] = set()  # of what is loaded in the background: nobody need wait
        self._warned = False
        self._closed = False
        self._retries = Retries(
            engine.id,
            ensure,
            wanted=self._is_to_stay,
            able=lambda: engine.health.state == "ready",
            supervisor=supervisor,
        )

    def __contains__(self, digest: str) -> bool:
        """Whether it is to be loaded though nobody waits for it."""
        return digest in self._pins or digest in self._again

    def close(self) -> None:
        """Load nothing more."""
        self._closed = True
        self._retries.close()
        for task in self._background:
            task.cancel()

    def begin_with(self, releases: Iterable[Release]) -> None:
        """Load these, besides the pins, when the engine comes up for the first time.

        Of those of its base as many as one batch can mix, in this order.
        """
        base = self._engine.base.digest
        own = [release for release in releases if release.base.digest == base]
        self._first = tuple(own[: self._engine.slots])

    def pins_are_told(self) -> None:
        """What is to be pinned is known now."""
        self._pins_told = True

    @property
    def unsettled(self) -> str | None:
        """What is still done before it is as it is to begin; None from then on. Names nobody."""
        if not self._settled and self._engine.health.state == "ready":
            self._settled = self._pins_told and not self._background
        if self._settled:
            return None
        if not self._pins_told:
            return "the pins are not read yet"
        stages = [entry.stage for entry in self._entries.values()]
        there = sum(stage in ("resident", "refused") for stage in stages)
        return f"adapters are being loaded: {there} of {len(stages)}"

    def is_pinned(self, digest: str) -> bool:
        """Whether it is kept loaded."""
        return digest in self._pins

    def pin(self, release: Release) -> None:
        """Keep it loaded from now on and after every restart of the engine."""
        new = release.digest not in self._pins
        self._pins[release.digest] = release
        entry = self._entries.get(release.digest)
        if entry is not None:
            entry.pinned = True
        if self._engine.health.state == "ready" and new and self._fit:
            self.reload([release])

    def unpin(self, name: str, *, keep: set[str]) -> None:
        """Let releases of a name be unloaded again, but those with a digest in `keep`."""
        for digest in [d for d, r in self._pins.items() if r.name == name and d not in keep]:
            del self._pins[digest]
            entry = self._entries.get(digest)
            if entry is not None:
                entry.pinned = False
        self._changed()

    def warn_of_pins(self) -> None:
        """Say so when there are more pins than places."""
        if not self._fit and not self._warned:
            _log.warning(
                "engine %s: %d adapters are pinned, and it holds %d: the pins that were used "
                "last stay", self._engine.id, len(self._pins), self._engine.capacity,
            )  # fmt: skip
        self._warned = not self._fit

    def load_anew(self, held: Iterable[Release]) -> None:
        """The engine is new and empty: have the pins loaded, what it held, and what it begins with.

        Args:
            held: in the order in which they are wanted back.
        """
        first, self._first = self._first, ()
        wanted = [*self._pins.values(), *held, *first]
        again = {release.digest: release for release in wanted}
        self.reload(list(again.values())[: self._engine.capacity])

    def reload(self, releases: list[Release]) -> None:
        """Have these loaded, one after the other; whoever needs one meanwhile waits for it.

        A pin that cannot be loaded now is tried again later.
        """

        async def reload() -> None:
            for release in releases:
                self._again.add(release.digest)
                try:
                    await self._ensure(release)
                except AdapterworksError as error:
                    self._retries.later(release, error)
                finally:
                    self._again.discard(release.digest)

        task = self._supervisor.once("reload", reload(), what=self._engine.id)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @property
    def _fit(self) -> bool:
        return len(self._pins) <= self._engine.capacity

    def _is_to_stay(self, release: Release) -> bool:
        return self._fit and not self._closed and release.digest in self._pins
