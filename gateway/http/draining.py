"""What takes requests beside the HTTP server ends as that does: it lingers, then finishes.

Invariant: what was begun there has `drain_seconds` to end, whether or not anybody is connected by
HTTP.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from adapterworks.gateway.gateway import Gateway

_LOOK_S = 0.1


class Stoppable(Protocol):
    """What is stopped before the gateway is."""

    async def stop(self, grace: float) -> None:
        """Take nothing new; what is under way is cut off after `grace` seconds. Again is sooner."""


class Draining:
    """Has something end when its gateway drains.

    Args:
        what: for logs.
    """

    def __init__(self, gateway: Gateway, what: str, taking: Stoppable) -> None:
        self._gateway, self._taking = gateway, taking
        self._task = gateway.supervisor.once(f"end of the {what}", self._follow())

    async def _follow(self) -> None:
        # A signal's handler sets it, which may call nothing of the loop's.
        while not self._gateway.draining:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        http = self._gateway.config.http
        await asyncio.sleep(http.linger_seconds)
        await self._taking.stop(http.drain_seconds)

    async def end(self, *, at_once: bool) -> None:
        """Returns when all of it has ended, or at once if nothing is to be waited for."""
        self._gateway.draining = True
        if at_once:
            self._task.cancel()
            await self._taking.stop(0.0)
        await asyncio.wait({self._task})
