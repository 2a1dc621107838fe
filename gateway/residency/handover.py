"""A promotion under traffic: whoever an alias stood for answers until the new release can.

Invariants:
- where a release answers for an alias that is moved to another one, the other one is loaded and
  proved first, in as many engines, and in those that its requests will be sent to; nobody waits for
  that, or gets an error;
- it counts from then on, and also if it is refused or takes longer than `LONGEST_SECONDS`: what an
  alias stands for is not for a gateway to decide. That it cannot be loaded for now is no refusal:
  it is tried again as long as the old one answers;
- what was deleted answers for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Weighted

LONGEST_SECONDS = 600.0
_log = logging.getLogger(__name__)


class Handover:
    """The handovers of one gateway.

    Args:
        residencies: of its engines.
        places: those that a release's requests are sent to, in order of preference.
        read: the record of a digest.
    """

    def __init__(
        self,
        residencies: Callable[[], Iterable[Residency]],
        places: Callable[[Release], Sequence[Residency]],
        read: Callable[[str], Awaitable[Release]],
        supervisor: Supervisor,
    ) -> None:
        self._residencies = residencies
        self._places = places
        self._read = read
        self._supervisor = supervisor
        self._under_way: dict[str, tuple[tuple[str, ...], asyncio.Task[None]]] = {}

    def answering(self) -> set[str]:
        """The digests that can answer now."""
        return {
            entry.release.digest
            for residency in self._residencies()
            for entry in residency.entries
            if entry.stage == "resident"
        }

    async def begun(
        self,
        model: str,
        before: Sequence[Weighted],
        now: Sequence[Weighted],
        done: Callable[[], None],
    ) -> bool:
        """Whether who answered before still does; brings the new ones if so.

        Args:
            done: called when the new ones count.
        """
        old = {holder.digest for holder in before}
        new = tuple(sorted({holder.digest for holder in now} - old))
        running = self._under_way.get(model)
        if running is not None:
            if running[0] == new:
                return True
            running[1].cancel()  # moved once more meanwhile
        missing = await self._missing(old, new)
        if not missing:
            return False

        async def bring() -> None:
            try:
                await self._bring(model, missing, old)
            finally:
                mine = self._under_way.get(model)
                if mine is not None and mine[0] == new:
                    del self._under_way[model]
                    done()

        self._under_way[model] = (new, self._supervisor.once("handover", bring(), what=model))
        return True

    async def _missing(self, old: set[str], new: Iterable[str]) -> list[tuple[Residency, Release]]:
        """What is to be loaded where, so that the new ones can answer when they count."""
        answering = sum(any(r.holds(digest) for digest in old) for r in self._residencies())
        missing: list[tuple[Residency, Release]] = []
        for digest in new if answering else ():
            try:
                release = await self._read(digest)
            except AdapterworksError:
                continue
            missing += [
                (residency, release)
                for residency in self._places(release)[:answering]
                if not residency.knows(digest)
            ]
        return missing

    async def _have(self, residency: Residency, release: Release, old: set[str]) -> None:
        while True:
            try:
                return await residency.have(release)
            except Unavailable as error:
                if residency.closed:  # its engine leaves: those that stay are loaded beside it
                    return
                if not any(one.holds(digest) for one in self._residencies() for digest in old):
                    raise
                _log.info("the new release of %s is tried again: %s", release.name, error.message)
                await asyncio.sleep(error.retry_after or 1.0)

    async def _bring(
        self, model: str, missing: list[tuple[Residency, Release]], old: set[str]
    ) -> None:
        _log.info("`%s` was moved: its new release is loaded while the old one answers", model)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_SECONDS):
                outcomes = await asyncio.gather(
                    *(self._have(residency, release, old) for residency, release in missing),
                    return_exceptions=True,
                )
                for error in outcomes:
                    if isinstance(error, AdapterworksError):
                        _log.error("the new release of `%s`: %s", model, error.message)
