"""What the gateway asks of an engine, whoever runs it and wherever it runs.

Invariant: an engine is told digests only, never names or aliases; what it was told is void when its
`generation` changes (the process was replaced), and everything must be loaded and proved again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from adapterworks.gateway.engines.fetcher import Fetcher
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.engines.wire import Answer
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import Unavailable

State = Literal["starting", "ready", "down", "stopped"]
# Log-probabilities at one position, by token id: the engine's most likely ones.
Scores = dict[int, float]


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt, and where in it log-probabilities are asked for.

    Attributes:
        token_ids: as the model sees them, without what a form puts in front.
        positions: ascending indices from 1: what is scored is the token at each, given all that
            stands before it.
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of an engine now.

    Attributes:
        reason: why it is in this state, for a person (`loading weights`, `exited with 137`).
        generation: how many times it has come up; 0 before the first time.
    """

    state: State
    reason: str
    generation: int


class NotAsked(Unavailable):
    """A request that did not reach the engine, so that it cost nothing."""


class NotLoaded(NotAsked):
    """The engine does not hold the adapter that it was thought to hold."""


class Engine(Protocol):
    """One vLLM server: local and supervised, or remote.

    Attributes:
        context: tokens that a prompt and its answer may have together.
        shared_as: its name for all gateways that may use it; None if it is this one's alone.
        replaced: whether another one, of another base, answers in its place.
        fetcher: its host, which fetches releases itself; None if it shares a folder with us.
    """

    id: str
    shared_as: str | None
    replaced: bool
    fetcher: Fetcher | None
    context: int
    base: ServedBase
    slots: int
    capacity: int
    parallel: int
    forms: frozenset[str]

    @property
    def health(self) -> Health:
        """The present state."""

    @property
    def inflight(self) -> int:
        """Requests being relayed to it now."""

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call `callback` each time a new generation is ready."""

    async def start(self, supervisor: Supervisor | None = None) -> None:
        """Begin to run or watch the engine; returns at once.

        Args:
            supervisor: of the gateway whose engine it is.
        """

    async def stop(self) -> None:
        """End it (local) or let go of it (remote); idempotent."""

    async def load(self, digest: str, folder: Path) -> None:
        """Load a LoRA from a read-only folder under its digest; loading it twice is not an error.

        Raises:
            Refused: the engine cannot load it.
            Unavailable: the engine does not answer, or its answer is no judgement on the adapter.
        """

    async def unload(self, digest: str) -> None:
        """Forget a LoRA; forgetting an unknown one is not an error."""

    async def can_score_prompts(self) -> bool:
        """Whether it has log-probabilities of a prompt's own tokens; it is asked once.

        Raises:
            Unavailable: it does not answer.
        """

    async def score(
        self, fields: Mapping[str, Any], probes: Sequence[Probe]
    ) -> tuple[list[Scores], int]:
        """The log-probabilities at all positions of the probes, in order, and the tokens they cost.

        Args:
            fields: what to ask besides the prompts: `model`, and what its form adds.

        Raises:
            Refused: the engine does not take them.
            Unavailable: it does not answer.
        """

    async def models(self) -> list[dict[str, Any]]:
        """The engine's own list of models, loaded adapters among them.

        Raises:
            Unavailable, ClientError, OSError, LookupError: it does not say.
        """

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Answer]:
        """Send a request; the answer's body is read by the caller.

        Raises:
            NotAsked: it did not reach the engine.
            Unavailable: the engine does not answer.
        """
