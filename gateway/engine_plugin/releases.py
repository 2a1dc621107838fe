"""`POST /adapterworks/load` and `/adapterworks/unload`: a release by its digest, and nothing else.

For engines that share no folder with their gateways: the engine's host fetches the release itself,
and vLLM loads it under its digest. A body is `{"digest": "sha256:…"}`; the answer's is empty, or
`{"error": {"message": …}}`.

Invariants:
- who shows none of the engine's keys is told nothing, and an engine without keys fetches nothing;
- no path and no address of a registry comes from a request;
- whoever asks for the same digest meanwhile waits for the same fetch, which nobody's leaving ends;
- what is unloaded while it is loaded is not there afterwards, unless it is asked for again.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from adapterworks.gateway.engine_plugin import last_used, servables
from adapterworks.gateway.engine_plugin.release_cache import NoRoom, ReleaseCache
from adapterworks.manifests.errors import (
    AdapterworksError,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
)
from adapterworks.registry.releases.forms import LORA

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOAD, UNLOAD = "/adapterworks/load", "/adapterworks/unload"
IDLE_S = 86400.0
"""Seconds after which an adapter that nobody asked for is let go of: its gateway is gone."""
_AT_ONCE = 2  # fetches
_MOST_WAITING = 64
_MOST_BYTES = 1024
_STATUSES: tuple[tuple[type[AdapterworksError], int], ...] = (
    (InvalidInput, 400),
    (NotFound, 404),
    (IntegrityError, 409),
    (Refused, 422),
    (NoRoom, 507),
)
_log = logging.getLogger("vllm.adapterworks")


class Adapters(Protocol):
    """The LoRAs of an engine, by name."""

    async def load(self, name: str, path: str) -> tuple[int, str]:
        """Load a folder; status and text as vLLM's own endpoint answers."""

    async def unload(self, name: str) -> None:
        """Forget a name; forgetting an unknown one is not an error."""


class Releases:
    """What one engine's host does when its gateways ask.

    Args:
        keys: that the engine takes; without any it does nothing here.
    """

    def __init__(self, cache: ReleaseCache, adapters: Adapters, keys: Sequence[str]) -> None:
        self._cache, self._adapters = cache, adapters
        self._keys = [key.encode() for key in keys if key]
        self._flights: dict[str, asyncio.Task[tuple[int, str]]] = {}
        self._unwanted: set[str] = set()  # of the flights, those whose gateway has given up
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def may_ask(self, authorization: str) -> bool:
        """Whether a request shows one of the engine's keys."""
        scheme, _, shown = authorization.partition(" ")
        right = [hmac.compare_digest(key, shown.encode()) for key in self._keys]
        return scheme.lower() == "bearer" and any(right)

    async def load(self, digest: str) -> tuple[int, str]:
        """Fetch and load a release; status and text of the answer."""
        self._unwanted.discard(digest)
        flight = self._flights.get(digest)
        if flight is None:
            if len(self._flights) >= _MOST_WAITING:
                return 503, f"{_MOST_WAITING} releases are being fetched"
            flight = self._flights[digest] = asyncio.create_task(self._fly(digest))
        return await asyncio.shield(flight)

    async def unload(self, digest: str) -> tuple[int, str]:
        """Forget a release; its files make room when others need it."""
        if digest in self._flights:
            self._unwanted.add(digest)  # the flight's end unloads it
        else:
            await self._drop(digest)
        return 200, ""

    async def _drop(self, digest: str) -> None:
        await self._adapters.unload(digest)
        self._cache.let_go(digest)

    async def _fly(self, digest: str) -> tuple[int, str]:
        """Load it; if nobody wants it any more by then, unload it."""
        try:
            while True:
                answer = await self._load(digest)
                if digest not in self._unwanted:
                    return answer
                await self._drop(digest)
                if digest in self._unwanted:  # else it was asked for again meanwhile
                    return 503, f"{digest} was unloaded while it was loaded"
        finally:
            self._unwanted.discard(digest)
            del self._flights[digest]

    async def _load(self, digest: str) -> tuple[int, str]:
        already = digest in self._cache.held
        async with self._turns:
            for held in self._cache.held:
                if held != digest and held not in self._flights and last_used.unused(held) > IDLE_S:
                    await self.unload(held)
            try:
                release, folder = await asyncio.to_thread(self._cache.fetch, digest)
            except AdapterworksError as error:
                _log.error("%s is not fetched: %s", digest[:80], error)
                return _status(error), error.message
            except Exception:
                _log.exception("%s is not fetched", digest)
                return 500, "the engine's log says why"
            last_used.note(digest)
            if release.servable is None:
                status, text = 422, "it has no form that an engine can load"
            elif release.servable.form == LORA:
                status, text = await self._adapters.load(digest, str(folder))
            else:
                status, text = _find(digest)
        if status != 200 and "already been loaded" not in text and not already:
            self._cache.let_go(digest)
        return status, text


def _find(digest: str) -> tuple[int, str]:
    """Whether its virtual tokens are where the engine looks for them."""
    try:
        servables.find(digest)
    except ValueError as error:
        return 422, str(error)
    return 200, ""


def _status(error: AdapterworksError) -> int:
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 503)


def attach(app: Starlette) -> None:
    """Add both paths to an application whose `state.adapterworks_releases` does the work."""
    for path, act in ((LOAD, Releases.load), (UNLOAD, Releases.unload)):
        app.add_route(path, _endpoint(act), methods=["POST"])


def _endpoint(act: Any) -> Any:
    async def endpoint(request: Request) -> Response:
        releases: Releases | None = getattr(request.app.state, "adapterworks_releases", None)
        if releases is None:
            return _answer(404, "this engine fetches no releases")
        if not releases.may_ask(request.headers.get("authorization", "")):
            return _answer(401, "start the engine with VLLM_API_KEY, and show that key")
        digest = await _digest_of(request)
        if digest is None:
            return _answer(400, 'the body should be {"digest": "sha256:…"}')
        return _answer(*await act(releases, digest))

    return endpoint


async def _digest_of(request: Request) -> str | None:
    """What a body names; None if it is none of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return None
    try:
        digest = json.loads(body)["digest"]
    except (ValueError, LookupError, TypeError):
        return None
    return digest if isinstance(digest, str) else None


def _answer(status: int, message: str) -> Response:
    from starlette.responses import JSONResponse

    body = {} if status == 200 else {"error": {"message": message}}
    return JSONResponse(body, status_code=status)
