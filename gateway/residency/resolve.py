"""From the `model` of a request to the release it stands for, read once per request.

Invariants:
- what is cached was read under the present revision of the index; a revision change empties the
  cache, so an alias move is seen by every gateway within the polling interval;
- an alias that was moved counts when its new release can answer (`handover.py`);
- a cache holds names that follow the grammar of refs, which bounds them, and nothing that a client
  made up: names that nobody holds have a small cache of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.residency.handover import Handover
from adapterworks.gateway.supervision.supervisor import Worker
from adapterworks.gateway.tenants.patterns import BASE_PREFIX
from adapterworks.manifests.digests import hash64
from adapterworks.manifests.errors import (
    AdapterworksError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from adapterworks.manifests.refs import Ref, parse_ref
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Weighted

POLL_SECONDS = 0.05
RETRY_SECONDS = 1.0
ANSWER_SECONDS = 2.0
_CACHE_LIMIT = 10_000
_ABSENT_LIMIT = 1_000
K = TypeVar("K")
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Resolver:
    """Resolves model names; `watch` keeps its cache as fresh as the index."""

    def __init__(self, registry: Registry, pool: EnginePool) -> None:
        self._registry = registry
        self._pool = pool
        self._holders: dict[str, tuple[Weighted, ...]] = {}
        self._absent: dict[str, None] = {}
        self._releases: dict[str, Release] = {}
        self._before: dict[str, tuple[Weighted, ...]] = {}  # under the last revision
        self._handover: Handover | None = None
        self._epoch = 0
        self._forgotten = asyncio.Event()
        # Of its own: an index that does not answer must not take the threads of everything else.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="resolve")

    async def target(self, model: str, sticky: str | Callable[[], str]) -> Target:
        """What `model` stands for.

        Args:
            sticky: who asks; the same value gets the same side of a canary alias. A function is
                called where there are sides.

        Raises:
            NotFound: nothing of that name, version or alias; malformed names too, so that a name
                that cannot exist looks like one that does not.
        """
        base = self._pool.bases().get(model)
        if base is not None:
            return Target(model, BASE_PREFIX + base.name, base.digest)
        holders = await self._read(model)
        chosen = holders[0] if len(holders) == 1 else _choose(holders, _key(sticky, model))
        release = await self.release(chosen.digest)
        return Target(
            model, release.name, release.base.digest, release, chosen.digest, chosen.version
        )

    async def release(self, digest: str) -> Release:
        """The verified record of a digest; kept, since it cannot change."""
        release = self._releases.get(digest)
        if release is None:
            release = await self._asked(self._registry.release, digest)
            _put(self._releases, digest, release)
        return release

    async def watch(self, worker: Worker, moved: Callable[[], None] = lambda: None) -> None:
        """Poll the index's revision for ever; while the index is away, polling goes on.

        Args:
            worker: told of every answer of the index.
            moved: called after each change that was seen.
        """
        known: int | None = None
        failing = False
        while True:
            try:
                revision = await asyncio.to_thread(self._registry.revision)
            except (Unavailable, OSError) as error:
                if not failing:
                    _log.error("the index does not answer: %s", error)
                failing = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            worker.beat()
            failing = False
            if revision != known:
                known = revision
                self.forget()
                moved()
            await asyncio.sleep(POLL_SECONDS)

    @property
    def epoch(self) -> int:
        """Another number after each change of the index that was seen."""
        return self._epoch

    def hand_over(self, handover: Handover) -> None:
        """Let who an alias stood for answer until the new release can."""
        self._handover = handover

    def forget(self) -> None:
        """The index has changed: what names stand for is read anew."""
        self._epoch += 1
        self._before |= self._holders
        if len(self._before) > _CACHE_LIMIT:
            self._before = dict(self._holders)
        self._holders.clear()
        self._absent.clear()
        self._forgotten.set()

    async def follow(self, worker: Worker) -> None:
        """After each change, see what became of the names that loaded releases answer for.

        So a promotion is begun when it is made, not when the next request comes: that one would
        still be answered by the release before.
        """
        while True:
            await self._forgotten.wait()
            self._forgotten.clear()
            loaded = set() if self._handover is None else self._handover.answering()
            for model, holders in list(self._before.items()):
                if any(holder.digest in loaded for holder in holders):
                    # Whoever asks for it is told; the other names are moved all the same.
                    with contextlib.suppress(AdapterworksError):
                        await self._read(model)
            worker.beat()

    async def _still(self, model: str, now: tuple[Weighted, ...]) -> tuple[Weighted, ...]:
        """Who answers: the new holders, or those before while the new ones are being loaded."""
        before = self._before.get(model)
        if before is None or self._handover is None:
            return now

        def done() -> None:
            self._before.pop(model, None)
            self._holders.pop(model, None)

        try:
            # What was deleted, is damaged, or cannot be asked for answers for nobody: an alias is
            # moved away from it for that very reason.
            await self._asked(self._alive, before)
        except AdapterworksError as error:
            if not isinstance(error, NotFound):
                _log.warning("who answered for `%s` does so no more: %s", model, error.message)
        else:
            if await self._handover.begun(model, before, now, done):
                return before
        self._before.pop(model, None)
        return now

    async def _asked(self, read: Callable[[K], T], what: K) -> T:
        """What the registry says.

        Raises:
            Unavailable: it does not answer in time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await loop.run_in_executor(self._threads, read, what)
        except TimeoutError as error:
            raise Unavailable(
                "the registry does not answer", hint="try again shortly", retry_after=2.0
            ) from error

    def _alive(self, holders: tuple[Weighted, ...]) -> None:
        for holder in holders:
            self._registry.release(holder.digest)

    async def _read(self, model: str) -> tuple[Weighted, ...]:
        holders = self._holders.get(model)
        if holders is not None:
            return holders
        if model in self._absent:
            raise missing(model)
        try:
            ref = parse_ref(model)
        except InvalidInput:
            raise missing(model) from None
        epoch = self._epoch
        holders = await self._asked(self._lookup, ref)
        # Read before the revision changed, stored after it: would be stale until the next.
        fresh = epoch == self._epoch
        if not holders:
            if fresh:
                _put(self._absent, model, None, _ABSENT_LIMIT)
            raise missing(model)
        if holders != self._before.get(model, holders):
            holders = await self._still(model, holders)
            fresh = epoch == self._epoch
        if fresh:
            _put(self._holders, model, holders)
        return holders

    def _lookup(self, ref: Ref) -> tuple[Weighted, ...]:
        """Who holds the ref; empty if nobody does."""
        try:
            if ref.alias is not None:
                return self._registry.weights(ref.name, ref.alias)
            resolved = self._registry.resolve(ref)
        except (InvalidInput, NotFound):
            return ()
        return (Weighted(resolved.version, resolved.digest, 100),)


def missing(model: str) -> NotFound:
    """The one answer to a name that does not exist and to one that the tenant may not use."""
    return NotFound(
        f"the model `{model[:200]}` does not exist",
        hint="`GET /v1/models` lists the models you may use",
    )


def _key(sticky: str | Callable[[], str], model: str) -> str:
    return f"{sticky if isinstance(sticky, str) else sticky()}\n{model}"


def _choose(holders: tuple[Weighted, ...], key: str) -> Weighted:
    """Pick by weight; the same key always lands on the same percentile."""
    point = hash64(key) % 100
    for holder in sorted(holders, key=lambda h: h.version):
        if point < holder.weight:
            return holder
        point -= holder.weight
    return holders[-1]


def _put(cache: dict[str, T], key: str, value: T, most: int | None = None) -> None:
    if len(cache) >= (most or _CACHE_LIMIT):
        cache.pop(next(iter(cache)))
    cache[key] = value
