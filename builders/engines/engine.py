"""The seam between builder and engine: token ids in; token ids, log-probabilities, stop reason out.

Evaluation asks through it; rollouts, judges and data synthesis will. There is no text in it:
rendering and decoding stay with the caller (`builders/data/render.py`), so that every member is
asked exactly the ids that training saw.

Invariant: what an engine answers to one prompt depends neither on the other prompts of the call nor
on their order, up to the rounding of floats. Models and adapters are named by digest, never by a
name that could come to mean something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adapterworks.manifests.digests import hash64
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.releases.release import Servable

# Called with (done, total) as answers come.
Progress = Callable[[int, int], None]
Ids = Sequence[int]

MAX_TOKENS = 1 << 20
MAX_SAMPLES = 1024
# What vLLM draws with: it refuses more, and takes 0.01 for less.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2.0
MAX_SEED = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are chosen.

    Attributes:
        max_tokens: longest answer, the token that ends it included.
        stop: ids that end an answer; no other token does.
        temperature: 0 is greedy: the likeliest token each time, whatever the model's own settings;
            otherwise from 0.01 to 2.
        top_p: tokens are drawn from the likeliest ones that together reach this share.
        n: answers to each prompt; more than one only where they are drawn.
        seed: of the draws; equal seeds on one engine give equal answers.
        seeds: one a prompt, in place of `seed`; equal prompts need not have equal answers then.

    Raises:
        InvalidInput: a value out of its bounds.
    """

    max_tokens: int
    stop: tuple[int, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    n: int = 1
    seed: int = 0
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _bounded("max_tokens", self.max_tokens, 1, MAX_TOKENS)
        if self.temperature != 0.0:
            _bounded("temperature", self.temperature, MIN_TEMPERATURE, MAX_TEMPERATURE)
        _bounded("n", self.n, 1, MAX_SAMPLES)
        for seed in (self.seed, *self.seeds):
            _bounded("seed", seed, 0, MAX_SEED)
        if not 0.0 < self.top_p <= 1.0:
            raise InvalidInput(f"`top_p` is {self.top_p}", hint="give a share above 0, at most 1")
        if any(token < 0 for token in self.stop):
            raise InvalidInput("`stop` holds a negative token id")
        if self.greedy and self.n > 1:
            raise InvalidInput(
                f"{self.n} greedy answers to one prompt would all be the same",
                hint="set a `temperature` above 0, or ask for one",
            )

    def seed_to(self, index: int, prompt: Ids) -> int:
        """The seed of what is drawn to one of several prompts, for engines that draw sample i with
        this + i: prompts have no draw in common, and each has the same whatever is asked with it.
        """
        if self.seeds:
            return self.seeds[index]
        number = hash64(f"{self.seed}:{','.join(map(str, prompt))}") >> 11
        return number // MAX_SAMPLES * MAX_SAMPLES

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `seeds` where there are any."""
        found = {**asdict(self), "stop": list(self.stop), "seeds": list(self.seeds)}
        return {name: value for name, value in found.items() if name != "seeds" or self.seeds}


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        token_ids: what was chosen; where `stop` is `stop`, the last one is the id that ended it.
        logprobs: of each of them (nats), in the model's own distribution: before temperature and
            `top_p`.
        stop: `stop` at one of the ids asked for, `length` at `max_tokens`.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: Literal["stop", "length"]

    @property
    def answer(self) -> tuple[int, ...]:
        """The ids without the one that ended the answer."""
        return self.token_ids[:-1] if self.stop == "stop" else self.token_ids


@dataclass(frozen=True, slots=True)
class Given:
    """Tokens to be scored: those from `start` on, each given everything before it.

    Raises:
        InvalidInput: `start` is not in 1…length: a first token follows nothing.
    """

    token_ids: tuple[int, ...]
    start: int

    def __post_init__(self) -> None:
        _bounded("start", self.start, 1, max(1, len(self.token_ids)))

    @property
    def scored(self) -> tuple[int, ...]:
        """The ids that are scored."""
        return self.token_ids[self.start :]


@dataclass(frozen=True, slots=True)
class Model:
    """What an engine runs: a base, or a fully fine-tuned model of its own.

    Attributes:
        digest: of the base (`Base.digest`), or of what was trained.
        name: for people, and what a gateway calls it.
        folder: a dense checkpoint that holds exactly the values training saw (`Base.served`).
        trained: whether it is no base, but a full fine-tuning's result.
    """

    digest: str
    name: str
    folder: Path
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter as engines are told of it.

    Attributes:
        digest: of its release, or of its files while it has none.
        folder: PEFT's folder, what the reference implementation loads.
        servable: the record of the form that engines for serving load; None if it has none.
        served: the folder of that form.
        release: its release's digest, once it is published.
        name: its release's name, once it is published.
        contents: digest of the files in both folders, which a release has in common with what it
            was before it was published; None if nobody looked.
    """

    digest: str
    folder: Path
    servable: Servable | None = None
    served: Path | None = None
    release: str | None = None
    name: str | None = None
    contents: str | None = None


UNKNOWN = "unknown"
"""Device and precision of what does not say what it runs on."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What answers depend on beside model and question: equal identities, equal answers.

    Attributes:
        member: `huggingface`, `vllm` or `gateway`.
        versions: of the packages that compute.
        device: `cpu` or `cuda`; of a gateway, unknown.
        dtype: of weights and activations.
        code: digest of our own code that asks.
    """

    member: str
    versions: Mapping[str, str]
    device: str
    dtype: str
    code: str

    @property
    def known(self) -> bool:
        """Whether it says what computes; of a gateway only the address is known."""
        return self.device != UNKNOWN

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "versions": dict(self.versions)}


class Engine(Protocol):
    """One model that answers, alone and with adapters on it."""

    @property
    def longest(self) -> int | None:
        """Most tokens of a prompt and its answer together; None where nothing limits them."""

    def know(self, adapter: Adapter) -> None:
        """Make an adapter answerable under its digest; doing it twice is not an error.

        Raises:
            Refused: this engine cannot run it.
        """

    def complete(
        self,
        prompts: Sequence[Ids],
        sampling: Sampling,
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """`sampling.n` answers to each prompt, in the order of the prompts.

        Args:
            prompts: none of them empty.
            adapter: digest of one that it knows; None asks the base alone.
            batch_size: prompts worked on together, by a member that forms batches itself.

        Raises:
            NotFound: an adapter it does not know.
            Refused: a prompt longer than `longest` allows.
            Unavailable: it ended, or does not answer.
        """

    def score(
        self,
        sequences: Sequence[Given],
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[NDArray[np.float64]]:
        """Log-probabilities (nats) of each sequence's scored tokens, in their order.

        Raises:
            as `complete`.
        """

    def close(self) -> None:
        """Let go of the model; idempotent."""


@runtime_checkable
class Forgetful(Protocol):
    """An engine that lets go of adapters: one for whom there is a new one each step."""

    def forget(self, adapter: str) -> None:
        """Let go of the adapter of this digest; what it does not know is no error."""


@runtime_checkable
class Interruptible(Protocol):
    """A way to get engines that ends what a thread waits for: nobody wants it any more."""

    def interrupt(self, thread: int) -> None:
        """Have what this thread waits for, an engine or its answers, fail with `Unavailable`; who
        waits for nothing is no error.

        Args:
            thread: its `ident`.
        """


class Opener(Protocol):
    """One way to get an engine: the Hugging Face model, a vLLM of our own, a running gateway."""

    def identity(self, model: Model) -> Identity:
        """What the engine will be; starts nothing."""

    def refuses(self, model: Model, adapter: Adapter | None) -> str | None:
        """Why such an engine could not run this, in words; None if it could. Starts nothing."""

    def can_score(self, sequences: Sequence[Given]) -> bool:
        """Whether such an engine scores these at a bearable cost; if not, another must be asked."""

    def open(self, model: Model, adapters: Sequence[Adapter], *, longest: int) -> Engine:
        """An engine of this model that knows these adapters.

        Args:
            adapters: those that it does not refuse.
            longest: tokens that a prompt and its answer together must be allowed to have.

        Raises:
            MissingExtra: a package is not installed.
            Refused: it cannot run the model, or one of the adapters.
            Unavailable: it does not start or answer.
        """


def _bounded(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidInput(f"`{name}` is {value}", hint=f"give a value from {least:g} to {most:g}")
