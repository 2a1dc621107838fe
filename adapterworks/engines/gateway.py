"""A gateway that runs already, asked as one of its tenants: what is served answers.

Invariant: nothing is asked of it before it has said, in the headers of its own answers, that a name
stands for the very base or release that is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.engines.engine import (
    UNKNOWN,
    Adapter,
    Completion,
    Given,
    Identity,
    Ids,
    Model,
    Progress,
    Sampling,
)
from adapterworks.builders.engines.sources import code_digest
from adapterworks.engines.asking import Post, ask_completions, ask_scores, bearable
from adapterworks.manifests.errors import InvalidInput, NotFound, Refused, Unavailable

if TYPE_CHECKING:
    import httpx2

MEMBER = "gateway"
_CODE = ("engines/gateway.py", "engines/asking.py", "builders/engines/engine.py")
# Requests of a tenant that others share the gateway with.
_PARALLEL = 32
# Answers of one request: more than its engine or the tenant's limit has places for is refused.
_AT_ONCE = 8
_SECONDS = 3600.0
_CONNECT_SECONDS = 5.0
# A tenant's limits, or an adapter that is not loaded yet: asked again, when it says so.
_TRIES = 20
_MOST_WAIT = 60.0
T = TypeVar("T")


class GatewayOpener:
    """Opens engines of this kind.

    Args:
        url: of the gateway, without `/v1`; None where none is named.
        key: sent as a bearer token.
    """

    def __init__(self, url: str | None, key: str | None) -> None:
        self._url = url.rstrip("/").removesuffix("/v1") if url else None
        self._key = key

    def identity(self, model: Model) -> Identity:
        """Its address: what runs behind it, it does not say."""
        return Identity(MEMBER, {"url": self._url or ""}, UNKNOWN, UNKNOWN, code_digest(*_CODE))

    def refuses(self, model: Model, adapter: Adapter | None) -> str | None:
        """What is not published, or has no servable form."""
        if model.trained or (adapter is not None and adapter.servable is None):
            return "serves no release without a servable form"
        if adapter is not None and adapter.release is None:
            return "serves nothing that is not published yet"
        return None

    def can_score(self, sequences: Sequence[Given]) -> bool:
        """By generated tokens, as a proof asks (docs/adr/0007), while that is bearable."""
        return bearable(sequences, block=None)

    def open(self, model: Model, adapters: Sequence[Adapter], *, longest: int) -> GatewayEngine:
        """Connect, and check that it serves the base and every adapter.

        Raises:
            InvalidInput: no gateway is named.
            Refused: it serves another base under this name, or not one of the adapters.
            Unavailable: it does not answer.
        """
        if self._url is None:
            raise InvalidInput(
                "no gateway is named",
                hint="set ADAPTERS_GATEWAY to its URL, and ADAPTERS_GATEWAY_KEY if it wants a key",
            )
        engine = GatewayEngine(self._url, self._key, model)
        try:
            engine.require_base()
            for adapter in adapters:
                engine.know(adapter)
        except BaseException:
            engine.close()
            raise
        return engine


class GatewayEngine:
    """One base behind a gateway; see `Engine`."""

    def __init__(self, url: str, key: str | None, model: Model) -> None:
        import httpx2

        self._url = url
        self._model = model
        self._names: dict[str | None, str] = {None: model.name}
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._times = httpx2.Timeout(_SECONDS, connect=_CONNECT_SECONDS)

    @property
    def longest(self) -> None:
        """It says so itself, when it is asked."""
        return None

    def require_base(self) -> None:
        """Check that it serves this base under its name.

        Raises:
            Refused, Unavailable: as `GatewayOpener.open` says.
        """
        self._require(self._model.name, None)

    def know(self, adapter: Adapter) -> None:
        """Check that it serves this release on this base."""
        if adapter.release is None:
            raise Refused("the gateway serves nothing that is not published yet")
        name = adapter.name or ""
        self._require(f"{name}@{adapter.release}", adapter.release)
        self._names[adapter.digest] = f"{name}@{adapter.release}"

    def complete(
        self,
        prompts: Sequence[Ids],
        sampling: Sampling,
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Answers; the engine behind it forms its batches itself."""
        fields = self._fields(adapter)
        return self._with_client(
            lambda post: ask_completions(
                post, fields, prompts, sampling, _PARALLEL, progress, at_once=_AT_ONCE
            ),
            adapter,
        )

    def score(
        self,
        sequences: Sequence[Given],
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[NDArray[np.float64]]:
        """Log-probabilities of what is given."""
        fields = self._fields(adapter)
        return self._with_client(
            lambda post: ask_scores(post, fields, sequences, _PARALLEL, progress, at_once=_AT_ONCE),
            adapter,
        )

    def close(self) -> None:
        """Nothing is held."""

    def _fields(self, adapter: str | None) -> dict[str, Any]:
        if adapter not in self._names:
            raise NotFound(f"this engine knows no adapter `{str(adapter)[:19]}…`")
        return {"model": self._names[adapter]}

    def _with_client(self, ask: Callable[[Post], Awaitable[T]], adapter: str | None) -> T:
        """Run one question in a loop and with connections of its own."""
        import httpx2

        async def run() -> T:
            async with httpx2.AsyncClient(headers=self._headers, timeout=self._times) as client:

                async def post(body: bytes) -> tuple[int, bytes]:
                    response = await self._patiently(client, body)
                    if response.status_code == 200:
                        self._check(response, self._names[adapter], adapter)
                    return response.status_code, response.content

                return await ask(post)

        return asyncio.run(run())

    async def _patiently(self, client: httpx2.AsyncClient, body: bytes) -> httpx2.Response:
        """Its answer; asked again while it is busy, its engine comes up, or it is started anew.

        Raises:
            Unavailable: it does not answer.
        """
        import httpx2

        left = _TRIES
        while True:
            left, wait = left - 1, None
            try:
                response = await client.post(
                    f"{self._url}/v1/completions",
                    content=body,
                    headers={"content-type": "application/json"},
                )
            except (httpx2.HTTPError, OSError) as error:
                # A question that takes too long is not asked again.
                if isinstance(error, httpx2.TimeoutException) or not left:
                    raise self._unavailable(error) from error
            else:
                if response.status_code not in (429, 503) or not left:
                    return response
                wait = response.headers.get("retry-after")
            await asyncio.sleep(_wait(wait))

    def _require(self, name: str, release: str | None) -> None:
        """Ask what a name stands for there."""
        import httpx2

        try:
            response = httpx2.get(
                f"{self._url}/v1/models/{name}", headers=self._headers, timeout=self._times
            )
        except (httpx2.HTTPError, OSError) as error:
            raise self._unavailable(error) from error
        if response.status_code in (401, 403, 404):
            raise Refused(
                f"the gateway at `{self._url}` does not serve `{name}` to us "
                f"({response.status_code})",
                hint="start it with this registry and base, and see that ADAPTERS_GATEWAY_KEY is "
                "a tenant's that may use both",
            )
        if response.status_code != 200:
            raise Unavailable(f"the gateway at `{self._url}` answers {response.status_code}")
        self._check(response, name, release)

    def _check(self, response: httpx2.Response, name: str, release: str | None) -> None:
        """The receipt of an answer names base and release.

        Raises:
            Refused: they are others than those that are meant.
        """
        base = response.headers.get("x-base-digest")
        if base != self._model.digest or response.headers.get("x-adapter-digest") != release:
            raise Refused(
                f"the gateway at `{self._url}` serves something else under `{name}`: base "
                f"{base}, release {response.headers.get('x-adapter-digest')}",
                hint=f"expected base {self._model.digest}, release {release}",
            )

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the gateway at `{self._url}` does not answer: {error or type(error).__name__}",
            hint="ADAPTERS_GATEWAY names it; `adapters serve` starts one",
        )


def _wait(retry_after: str | None) -> float:
    """Seconds until it is asked again."""
    try:
        return min(_MOST_WAIT, max(0.1, float(retry_after or 1.0)))
    except ValueError:
        return 1.0
