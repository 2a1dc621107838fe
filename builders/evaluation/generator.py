"""What evaluation asks of a model: texts for prompts, likelihoods of given answers.

The protocol is small so that base, `prod` and candidate go through the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.data.rows import Message
from adapterworks.builders.engines.engine import Progress
from adapterworks.manifests.evaluate_tables import SamplesTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Generator", "Progress"]


class Generator(Protocol):
    """One model under evaluation: a base, or a base with an adapter."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's tokenizer, with the template that training used."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        tools: Sequence[Sequence[Mapping[str, Any]]] = (),
        max_new_tokens: int,
        batch_size: int,
        progress: Progress | None = None,
    ) -> list[str]:
        """Greedy answers, in the order of the prompts, ending at the end of the turn: what is said
        behind the reasoning, if there is any.

        Args:
            tools: those of each prompt; empty where no prompt has any.
        """
        ...

    @property
    def cut(self) -> Sequence[bool]:
        """For each answer of the last `generate` whether it ended because it was too long."""
        ...

    @property
    def whole(self) -> Sequence[str]:
        """Each answer of the last `generate` with the reasoning before it, as it was written."""
        ...

    @property
    def whole_drawn(self) -> Sequence[tuple[str, ...]]:
        """The same of the answers of the last `sample`."""
        ...

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
        """`table.n` drawn answers to each prompt, in their order.

        Args:
            table: how they are drawn.
            seed: of the draws.
        """
        ...

    def likelihood(
        self, sequences: Sequence[Encoded], *, batch_size: int, progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """[n, 2]: summed −log-likelihood (nats) of the labelled tokens, and their number."""
        ...
