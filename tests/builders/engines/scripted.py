"""An engine whose answers are written down, and which counts what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.engines.engine import (
    Adapter,
    Completion,
    Given,
    Identity,
    Ids,
    Model,
    Progress,
    Sampling,
)
from adapterworks.manifests.errors import NotFound

# (adapter, prompt) → ids of the answer, without the one that ends it.
Script = Callable[[str | None, tuple[int, ...]], Sequence[int]]


@dataclass
class Scripted:
    """Opens engines that answer by a script.

    Attributes:
        log: `open MODEL LONGEST`, `complete ADAPTER`, `score ADAPTER`, `close`, in order.
        cannot: reason for refusing an adapter, by its digest; `model`'s by the model's.
        scores: whether it can score.
        nll: of every given token.
    """

    script: Script
    name: str = "scripted"
    version: str = "1"
    log: list[str] = field(default_factory=list)
    cannot: dict[str, str] = field(default_factory=dict)
    scores: bool = True
    nll: float = 1.5
    most: int | None = None
    device: str = "cpu"

    def identity(self, model: Model) -> Identity:
        return Identity(self.name, {"script": self.version}, self.device, "float32", "sha256:0")

    def refuses(self, model: Model, adapter: Adapter | None) -> str | None:
        names = (model.digest, adapter.digest if adapter is not None else "")
        return next((self.cannot[name] for name in names if name in self.cannot), None)

    def can_score(self, sequences: Sequence[Given]) -> bool:
        return self.scores

    def open(self, model: Model, adapters: Sequence[Adapter], *, longest: int) -> ScriptedEngine:
        self.log.append(f"open {model.name} with {len(adapters)}")
        known = {adapter.digest for adapter in adapters}
        return ScriptedEngine(self, known, None if self.most is None else max(self.most, longest))

    def newer(self) -> Scripted:
        """The same engine in another version."""
        return replace(self, version="2", log=[])


@dataclass
class ScriptedEngine:
    """One of them."""

    opener: Scripted
    known: set[str]
    longest: int | None = None

    def know(self, adapter: Adapter) -> None:
        self.known.add(adapter.digest)

    def complete(
        self,
        prompts: Sequence[Ids],
        sampling: Sampling,
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        self._ask("complete", adapter)
        answers = []
        for prompt in prompts:
            ids = tuple(self.opener.script(adapter, tuple(prompt)))[: sampling.max_tokens]
            ended = len(ids) < sampling.max_tokens
            ids = (*ids, sampling.stop[0]) if ended else ids
            answers.append((Completion(ids, (-0.5,) * len(ids), "stop" if ended else "length"),))
        if progress:
            progress(len(prompts), len(prompts))
        return answers

    def score(
        self,
        sequences: Sequence[Given],
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[NDArray[np.float64]]:
        self._ask("score", adapter)
        return [np.full(len(given.scored), -self.opener.nll) for given in sequences]

    def close(self) -> None:
        self.opener.log.append("close")

    def _ask(self, what: str, adapter: str | None) -> None:
        if adapter is not None and adapter not in self.known:
            raise NotFound(f"no adapter {adapter}")
        self.opener.log.append(f"{what} {adapter}")
