"""The HTTP side of an engine, over a unix socket or TCP.

What is relayed goes over `wires.py`; loads, probes and health through one pooled client.

Invariant: only this module knows vLLM's paths for loading, unloading and scoring; they are never
reachable through the gateway's own listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from pydantic_core import from_json

from adapterworks.gateway.engines.engine import Health, NotAsked, Probe, Scores, State
from adapterworks.gateway.engines.fetcher import Fetcher
from adapterworks.gateway.engines.messages import brief, message, of_the_adapter
from adapterworks.gateway.engines.probing import Prober
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.engines.tls import EngineTls, tls_of
from adapterworks.gateway.engines.wire import Answer
from adapterworks.gateway.engines.wires import Unreachable, Wires
from adapterworks.manifests.errors import Refused, Unavailable

ADMIN_SECONDS = 120.0
PROBE_SECONDS = 5.0
UNTOLD_CONTEXT = 4096  # tokens, of an engine that does not say
# Of a connection nobody uses; below the 5 s after which vLLM closes it, so that no request meets a
# connection that is being closed.
KEEP_SECONDS = 3.0
_log = logging.getLogger(__name__)


class HttpEngine:
    """What local and remote engines share.

    Args:
        id: stable name, used for routing and in metrics.
        slots: adapters one batch can mix.
        capacity: adapters that may be loaded at once.
        parallel: requests it works on at once.
        forms: servable forms it was started for.
        key: sent as a bearer token.
        request_seconds: upper bound of one relayed request.
        context: tokens that a prompt and its answer may have together.
        tls: how its certificate is checked, and what it is shown, if its URL is `https`.
    """

    def __init__(
        self,
        id: str,
        base: ServedBase,
        *,
        slots: int,
        capacity: int,
        parallel: int,
        forms: frozenset[str],
        key: str | None,
        request_seconds: float,
        context: int = UNTOLD_CONTEXT,
        tls: EngineTls | None = None,
    ) -> None:
        self.id = id
        self.shared_as: str | None = None
        self.replaced = False
        self.fetcher: Fetcher | None = None
        self._prober = Prober(base.model, self._completion, self._unavailable)
        self.context = context
        self.base = base
        self.slots = slots
        self.capacity = capacity
        self.parallel = parallel
        self.forms = forms
        self._key = key
        self._tls = tls
        self._seconds = request_seconds
        self._session: aiohttp.ClientSession | None = None
        self._wires: Wires | None = None
        self._url = "http://engine"
        self._inflight = 0
        self._state: State = "starting"
        self._reason = "not started"
        self._generation = 0
        self._callbacks: list[Callable[[], None]] = []

    @property
    def health(self) -> Health:
        """The present state."""
        return Health(self._state, self._reason, self._generation)

    @property
    def inflight(self) -> int:
        """Requests being relayed now."""
        return self._inflight

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call `callback` each time a new generation is ready."""
        self._callbacks.append(callback)

    def _open(self, connector: aiohttp.BaseConnector, url: str, socket: str | None = None) -> None:
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        self._url = url
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._seconds, connect=PROBE_SECONDS),
            # An engine that redirects or sets cookies is not one of ours: both are left alone.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=1 << 18,
            skip_auto_headers=("accept-encoding", "user-agent"),
        )
        self._wires = Wires(
            url,
            socket=socket,
            tls=self._tls,
            key=self._key,
            seconds=self._seconds,
            connect_seconds=PROBE_SECONDS,
            keep_seconds=KEEP_SECONDS,
        )

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._wires is not None:
            self._wires.close()
            self._wires = None

    def _became_ready(self) -> None:
        self._generation += 1
        self._state, self._reason = "ready", "answers"
        for callback in self._callbacks:
            callback()

    async def can_score_prompts(self) -> bool:
        """Whether it has log-probabilities of a prompt's own tokens; it is asked once."""
        return await self._prober.can_score_prompts()

    def _became(self, state: State, reason: str) -> None:
        self._state, self._reason = state, reason

    def _nobody_listens(self) -> None:
        """A connection was refused: its process is gone."""

    def _unavailable(self, why: str | None = None) -> Unavailable:
        # Not `self._reason`: that is for those who run the gateway, and says where the engine is.
        return Unavailable(
            f"the engine of base `{self.base.name}` is not ready: {why or self._state}",
            hint="try again shortly",
            retry_after=2.0 if self._state == "ready" else 10.0,
        )

    async def load(self, digest: str, folder: Path) -> None:
        """Load a LoRA under its digest."""
        status, text = await self._admin(
            "/v1/load_lora_adapter", {"lora_name": digest, "lora_path": str(folder)}
        )
        # A digest names its content: that it is there already is what we want.
        if status == 200 or (status == 400 and "already been loaded" in text):
            return
        if not (status == 500 and of_the_adapter(text)):
            self._refuses(status, text, f"to load `{digest[:19]}…`")
        raise Refused(
            f"the engine cannot load `{digest[:19]}…`: {message(text)}",
            hint="`adapters show` prints its rank and modules; the engine's own limits are in "
            "`adapters ps`",
        )

    async def unload(self, digest: str) -> None:
        """Forget a LoRA."""
        status, text = await self._admin("/v1/unload_lora_adapter", {"lora_name": digest})
        if status != 404:  # it is not there, which is what we want
            self._refuses(status, text, f"to unload `{digest[:19]}…`")

    async def score(
        self, fields: Mapping[str, Any], probes: Sequence[Probe]
    ) -> tuple[list[Scores], int]:
        """The log-probabilities at all positions of the probes, and the tokens they cost."""
        return await self._prober.score(fields, probes)

    async def _completion(self, request: dict[str, Any]) -> Any:
        """What it answers to a probe."""
        status, text = await self._admin("/v1/completions", request)
        self._refuses(status, text, "to answer a probe")
        if status != 200:
            raise Refused(f"the engine refused a probe: {message(text)}")
        try:
            return from_json(text)
        except ValueError as error:
            raise self._unavailable("what it answered to a probe is no completion") from error

    async def models(self) -> list[dict[str, Any]]:
        """The engine's own list of models; each has its name as `id`.

        Raises:
            Unavailable: it does not answer, or what does speaks another language.
        """
        try:
            async with self._request("GET", "/v1/models", None, PROBE_SECONDS) as response:
                if response.status != 200:
                    raise self._unavailable(f"it answered {response.status} for its models")
                said = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unavailable(brief(error)) from error
        return self._listed(said)

    def _listed(self, said: bytes) -> list[dict[str, Any]]:
        with contextlib.suppress(ValueError, LookupError, TypeError):
            models: list[dict[str, Any]] = from_json(said)["data"]
            if isinstance(models, list) and all(isinstance(one["id"], str) for one in models):
                return models
        raise self._unavailable("what it answered for its models is no list of them")

    @contextlib.asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[Answer]:
        """Send a request; the answer's body is read by the caller."""
        self._inflight += 1
        try:
            if self._wires is None or self._state != "ready":
                raise _not_asked(self._unavailable())
            try:
                answer = await self._wires.post(path, body, headers)
            except Unreachable as error:
                if isinstance(error.__cause__, ConnectionRefusedError):
                    self._nobody_listens()
                raise _not_asked(self._unavailable(str(error))) from error
            except (ConnectionError, TimeoutError) as error:
                raise self._unavailable(brief(error)) from error
            try:
                yield answer
            finally:
                answer.leave()
        finally:
            self._inflight -= 1

    def _refuses(self, status: int, text: str, what: str) -> None:
        """Tell a judgement on what was asked (400, 422) from trouble with the engine.

        Raises:
            Unavailable: it failed, is busy, does not know us, or lacks the path: asking again
                later, or an operator, may help.
        """
        if status in (200, 400, 422):
            return
        _log.error("engine %s answered %d when asked %s: %s", self.id, status, what, text[:1000])
        why = {401: "does not accept the gateway's key", 403: "does not accept the gateway's key"}
        raise self._unavailable(f"it {why.get(status, 'failed')} when asked {what}")

    async def _healthy(self) -> bool:
        try:
            async with self._request("GET", "/health", None, PROBE_SECONDS) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _admin(
        self, path: str, body: dict[str, Any], seconds: float = ADMIN_SECONDS
    ) -> tuple[int, str]:
        try:
            async with self._request("POST", path, body, seconds) as response:
                return response.status, await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unavailable(brief(error)) from error

    @contextlib.asynccontextmanager
    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise self._unavailable()
        async with (
            asyncio.timeout(seconds),
            self._session.request(
                method,
                self._url + path,
                json=body,
                allow_redirects=False,
                # Not the session's bound of a relayed request: a fetch may take longer.
                timeout=aiohttp.ClientTimeout(total=None, connect=PROBE_SECONDS),
                **tls_of(self._tls),
            ) as response,
        ):
            yield response


def _not_asked(error: Unavailable) -> NotAsked:
    return NotAsked(error.message, hint=error.hint, retry_after=error.retry_after)
