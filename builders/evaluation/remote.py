"""A model behind somebody's endpoint as a subject: asked the turns of the rows, in its own words.

Invariant: it is sent the question of each row and nothing else of it. It has its own template and
its own tokens, so it is compared by what it answers alone, never by likelihoods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.data.render import Encoded
from adapterworks.builders.data.rows import Message
from adapterworks.builders.endpoints.asking import ask_endpoint
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.evaluation.generator import Progress
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import SamplesTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Prices:
    """What an endpoint charges, in any currency, for a million tokens of each kind."""

    prompt: float = 0.0
    completion: float = 0.0


@dataclass
class Remote:
    """One endpoint as a `Generator`; what it used is summed up.

    Attributes:
        endpoint: who is asked.
        prices: of its tokens; None if nobody said.
    """

    endpoint: Endpoint
    prices: Prices | None = None
    _said: list[Answer] = field(default_factory=list)
    _drawn: list[Answer] = field(default_factory=list)
    _draws: int = 1

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """It has its own, which is not here."""
        raise self._only_answers()

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        tools: Sequence[Sequence[Mapping[str, Any]]] = (),
        max_new_tokens: int,
        batch_size: int,
        progress: Progress | None = None,
    ) -> list[str]:
        """Its likeliest answers, in the order of the prompts."""
        offered = tools or [()] * len(prompts)
        chats = [
            Chat([_plain(turn) for turn in turns], max_new_tokens, tools=own)
            for turns, own in zip(prompts, offered, strict=True)
        ]
        self._said = ask_endpoint(self.endpoint, chats, progress=progress)
        return [spoken(said.text) for said in self._said]

    @property
    def cut(self) -> Sequence[bool]:
        """For each of the likeliest answers whether it was too long."""
        return [said.cut for said in self._said]

    @property
    def whole(self) -> Sequence[str]:
        """The likeliest answers with their reasoning, where the server gives it with them."""
        return [said.text for said in self._said]

    @property
    def whole_drawn(self) -> Sequence[tuple[str, ...]]:
        """The same of the drawn ones."""
        texts, n = [said.text for said in self._drawn], self._draws
        return [tuple(texts[start : start + n]) for start in range(0, len(texts), n)]

    def sample(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        tools: Sequence[Sequence[Mapping[str, Any]]] = (),
        max_new_tokens: int,
        batch_size: int,
        table: SamplesTable,
        seed: int,
        progress: Progress | None = None,
    ) -> list[tuple[str, ...]]:
        """`table.n` drawn answers to each prompt, each a request with a seed of its own."""
        offered = tools or [()] * len(prompts)
        chats = [
            Chat(
                [_plain(turn) for turn in turns],
                max_new_tokens,
                tools=own,
                temperature=table.temperature,
                seed=seed + number,
                top_p=table.top_p,
            )
            for turns, own in zip(prompts, offered, strict=True)
            for number in range(table.n)
        ]
        self._drawn = ask_endpoint(self.endpoint, chats, progress=progress)
        self._draws = table.n
        return [tuple(spoken(text) for text in given) for given in self.whole_drawn]

    def likelihood(
        self, sequences: Sequence[Encoded], *, batch_size: int, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """Not to be had."""
        raise self._only_answers()

    def used(self) -> dict[str, Any]:
        """For the report: who answered, how many answers were cut, how many questions were declined
        (too long, a filter: the answer is empty), tokens and their cost."""
        answers = [*self._said, *self._drawn]
        prompt = sum(said.prompt_tokens for said in answers)
        completion = sum(said.completion_tokens for said in answers)
        told: dict[str, Any] = {
            "url": self.endpoint.url,
            "model": self.endpoint.model,
            "cut": sum(said.cut for said in self._said),
            "declined": sum(bool(said.declined) for said in answers),
            "prompt_tokens": prompt,
            "completion_tokens": completion,
        }
        if self.prices is not None:
            of_each = (prompt * self.prices.prompt, completion * self.prices.completion)
            told["cost"] = sum(of_each) / 1_000_000
        return told

    def _only_answers(self) -> InvalidInput:
        return InvalidInput(
            f"`{self.endpoint.name}` can be compared by its answers only: how likely it finds a "
            "given one, it does not say",
            hint="choose metrics of answers with `--manifest`, such as `exact_match`",
        )


def _plain(turn: Message) -> dict[str, Any]:
    """A turn without what only training reads."""
    return {key: value for key, value in turn.items() if key != "weight"}
