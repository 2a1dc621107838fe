"""Engines join and leave a running gateway as somebody says that they are there.

Invariants:
- what cannot be asked changes nothing: engines that were found stay;
- an engine that is new says itself which base it serves, before anything is sent to it; one that
  says another one later is another engine: it leaves, and joins as that;
- an engine that is in the gateway already, by whomever, is not in it twice;
- one that leaves gets no new request, and finishes those it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from adapterworks.gateway.discovery.finder import Finder
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.supervision.supervisor import Worker
from adapterworks.manifests.errors import AdapterworksError

_log = logging.getLogger(__name__)
# Makes the engine at a URL, or raises AdapterworksError if it does not say (yet) what it serves.
Make = Callable[[str], Coroutine[None, None, Engine]]


class Follower:
    """One `discover` of one gateway.

    Args:
        what: `discover` as it is written, for logs.
        join, leave: of the gateway's fleet; `leave` ends when the engine has finished.
        has: whether an engine of this id is in it.
        seconds: between two questions.
    """

    def __init__(
        self,
        what: str,
        finder: Finder,
        make: Make,
        *,
        join: Callable[[Engine], Coroutine[None, None, None]],
        leave: Callable[[Engine], Coroutine[None, None, None]],
        has: Callable[[str], bool],
        seconds: float,
    ) -> None:
        self._what, self._finder, self._make = what, finder, make
        self._join, self._leave, self._has, self._seconds = join, leave, has, seconds
        self._here: dict[str, Engine] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._said: dict[str, str] = {}

    async def run(self, worker: Worker) -> None:
        """Follow for ever."""
        try:
            while True:
                await self.look()
                worker.beat()
                await asyncio.sleep(self._seconds)
        finally:
            for task in self._leaving.values():
                task.cancel()
            await self._finder.close()

    async def look(self) -> None:
        """Ask once, and let join and leave who is to."""
        try:
            found = await self._finder.urls()
        except AdapterworksError as error:
            self._say(self._what, error.message)
            return
        self._said.pop(self._what, None)
        for url, engine in tuple(self._here.items()):
            if url in found and not engine.replaced:
                continue
            del self._here[url]
            why = "serves another base now" if url in found else "is not named any more"
            _log.info("engine %s of `%s` leaves: it %s", engine.id, self._what, why)
            task = asyncio.create_task(self._leave(engine), name=f"engine {engine.id} leaves")
            self._leaving[url] = task
        self._leaving = {url: task for url, task in self._leaving.items() if not task.done()}
        # One that comes back before it has finished is taken when it has.
        new = sorted(found - self._here.keys() - self._leaving.keys())
        # At once: one that is being started takes its time to say nothing.
        for url, made in zip(new, await asyncio.gather(*map(self._made, new)), strict=True):
            if made is None:
                continue
            if self._has(made.id):
                self._say(url, f"engine {made.id} is in this gateway already")
                continue
            await self._join(made)
            self._here[url] = made
            self._said.pop(url, None)
            _log.info("engine %s joins: %s serves `%s`", made.id, url, made.base.name)
        self._said = {k: v for k, v in self._said.items() if k == self._what or k in found}

    async def _made(self, url: str) -> Engine | None:
        """The engine at a URL; None if it does not say what it serves."""
        try:
            return await self._make(url)
        except AdapterworksError as error:
            self._say(url, error.message)
        except ValueError as error:  # of the libraries that take URLs apart
            self._say(url, f"`{url}` is no address of an engine: {error}")
        return None

    def _say(self, of: str, why: str) -> None:
        """Log it once, not at every look."""
        if self._said.get(of) != why:
            self._said[of] = why
            _log.warning("engines of `%s`: %s", self._what, why)
