"""Pins whose load failed are loaded again, after pauses that double.

What is refused is not tried again: it is damaged, or not what it says, and stays so. Nobody waits
for these loads: an engine counts as settled when each pin was tried once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import AdapterworksError, IntegrityError, Refused
from adapterworks.registry.releases.release import Release

FIRST_SECONDS = 2.0
MOST_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Retries:
    """Of the pins of one engine.

    Args:
        engine: its id, for logs.
        ensure: has a release loaded, or raises AdapterworksError.
        wanted: whether a release is still to be loaded there; False ends its attempts.
        able: whether the engine can be asked now; False is waited for.
    """

    def __init__(
        self,
        engine: str,
        ensure: Callable[[Release], Awaitable[None]],
        wanted: Callable[[Release], bool],
        able: Callable[[], bool],
        supervisor: Supervisor,
    ) -> None:
        self._engine, self._ensure, self._supervisor = engine, ensure, supervisor
        self._wanted, self._able = wanted, able
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def later(self, release: Release, error: AdapterworksError) -> None:
        """Its load failed with this: try again until it is there, refused or not wanted."""
        refused = isinstance(error, Refused | IntegrityError)
        if refused or release.digest in self._tasks or not self._wanted(release):
            return
        _log.warning(
            "engine %s: the pin %s is not loaded, and is tried again: %s",
            self._engine, release.name, error.message,
        )  # fmt: skip
        task = self._supervisor.once("pin again", self._again(release), what=self._engine)
        self._tasks[release.digest] = task
        task.add_done_callback(lambda _: self._tasks.pop(release.digest, None))

    def close(self) -> None:
        """Try nothing more."""
        for task in self._tasks.values():
            task.cancel()

    async def _again(self, release: Release) -> None:
        pause = FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            if not self._wanted(release):
                return
            if not self._able():
                continue
            try:
                await self._ensure(release)
            except (Refused, IntegrityError):
                return
            except AdapterworksError:
                pause = min(2 * pause, MOST_SECONDS)
            else:
                return
