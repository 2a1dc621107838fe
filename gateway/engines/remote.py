"""An engine that runs elsewhere: watched, never started or stopped by us.

Either it sees the same `ADAPTERS_HOME/checkouts` path as the gateway (a shared folder), from which
it loads adapters; or its host fetches them itself, and no path is sent. Invariants:
- it is down when it has missed `MISSED` checks in a row: one that was late is no death, and costs
  nobody an answer;
- adapters are proved with the chat template that it has, not with the one that the base has here;
- each time it comes back after that counts as a new generation, since we cannot know whether it is
  the same process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import replace

import aiohttp

from adapterworks.gateway.engines.client import (
    KEEP_SECONDS,
    UNTOLD_CONTEXT,
    HttpEngine,
)
from adapterworks.gateway.engines.fetcher import Fetcher
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.identity import ask_base
from adapterworks.gateway.engines.messages import of_the_adapter
from adapterworks.gateway.engines.rendering import renders_alike
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.engines.tls import EngineTls
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.manifests.errors import Unavailable

MISSED = 3
OTHER_TEMPLATE = "another"  # than any that an adapter was built with
_log = logging.getLogger(__name__)


def engine_id(url: str) -> str:
    """The name of the engine at a URL: in every gateway, whatever stands beside it there.

    So an adapter keeps its place when others come and go. It says no address.
    """
    return f"remote-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:8]}"


class RemoteEngine(HttpEngine):
    """A vLLM at a URL.

    Args:
        url: without a trailing slash.
        interval: seconds between health checks.
        told: its base is what it said itself, and is asked for again whenever it comes back.
        fetches: its host fetches releases itself.
    """

    def __init__(
        self,
        id: str,
        base: ServedBase,
        *,
        url: str,
        slots: int,
        capacity: int,
        parallel: int,
        key: str | None,
        interval: float,
        request_seconds: float,
        told: bool = False,
        fetches: bool = False,
        tls: EngineTls | None = None,
    ) -> None:
        super().__init__(
            id,
            base,
            slots=slots,
            capacity=capacity,
            parallel=parallel,
            # Started by someone else: what it cannot do, it refuses when the proof asks for it.
            forms=frozenset(FORMS),
            key=key,
            request_seconds=request_seconds,
            tls=tls,
        )
        self.url, self.key = url.rstrip("/"), key
        # A digest: the index is no place for addresses, which may hold a password.
        self.shared_as = hashlib.sha256(self.url.encode()).hexdigest()
        self._interval, self._told = interval, told
        if fetches:
            self.fetcher = Fetcher(id, base.name, self._admin, of_the_adapter)
        self._task: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._template_here = base.template_digest

    async def start(self, supervisor: Supervisor | None = None) -> None:
        """Begin to watch it."""
        self._open(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_SECONDS), self.url)
        self._task = (supervisor or Supervisor()).task(f"engine {self.id}", self._watch)

    async def first_look(self) -> None:
        """Wait until it was asked for the first time: it is ready then, or known not to be."""
        await self._looked.wait()

    async def stop(self) -> None:
        """Let go of it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._became("stopped", "stopped")
        await self._close()

    def _nobody_listens(self) -> None:
        """Down at once: who was only late would have taken the connection."""
        self._became("down", f"`{self.url}` refuses connections")

    async def _watch(self, worker: Worker) -> None:
        missed = 0
        while True:
            try:
                missed = await self._look(missed)
            finally:
                self._looked.set()
            worker.beat()
            await asyncio.sleep(self._interval)

    async def _look(self, missed: int) -> int:
        """Ask it once; returns how often in a row it has not answered now."""
        healthy = await self._healthy()
        missed = 0 if healthy else missed + 1
        if healthy and self._state != "ready":
            await self._greet()
        elif not healthy and (missed >= MISSED or self._state == "starting"):
            self._became("down", f"`{self.url}` does not answer")
        return missed

    async def _greet(self) -> None:
        """Check that it serves the base it is said to serve, under the name we will use."""
        if self._told and not await self._is_the_same():
            return
        try:
            models = {entry["id"]: entry for entry in await self.models()}
        except Unavailable:  # also whoever answers there speaks another language
            self._became("down", f"`{self.url}` does not list its models")
            return
        if self.base.model not in models:
            self._became("down", f"`{self.url}` does not serve `{self.base.model}`")
            return
        context = models[self.base.model].get("max_model_len")
        self.context = context if type(context) is int and context > 0 else UNTOLD_CONTEXT
        self._prober.forget()  # it may be another one now
        template, kind = await self._identity()
        # It may be another program than before, on another device.
        self.base = replace(self.base, template_digest=template, kind=kind)
        self._became_ready()

    async def _is_the_same(self) -> bool:
        """Whether it still says what it said when it joined; if not, it stays down."""
        try:
            said = await ask_base(self.url, self._key, self._tls)
        except Unavailable as error:
            self._became("down", error.message)
            return False
        self.replaced = (said.digest, said.model) != (self.base.digest, self.base.model)
        if self.replaced:
            self._became("down", f"`{self.url}` serves `{said.name}` ({said.digest[:19]}…) now")
        return not self.replaced

    async def _identity(self) -> tuple[str | None, str | None]:
        """The digest of its chat template, and its kind, as far as they can be found out."""
        try:
            said = await ask_base(self.url, self._key, self._tls)
        except Unavailable:  # it runs without our plugin
            return await self._template(), None
        # Of the base that it says; one that it is said to serve is another matter.
        return said.template_digest, said.kind if said.digest == self.base.digest else None

    async def _template(self) -> str | None:
        """The digest of the chat template of an engine that does not say it."""
        try:
            alike = await renders_alike(self._admin, self.base.model, self.base.renderings)
        except Unavailable:
            alike = None
        if alike:
            return self._template_here
        if alike is None:
            _log.warning("the chat template of engine %s (%s) is not known", self.id, self.url)
            return None
        what = "engine %s (%s) renders conversations otherwise than `%s` does here"
        _log.error(what, self.id, self.url, self.base.name)
        return OTHER_TEMPLATE
