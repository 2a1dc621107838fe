"""Samplers: who gives the answers that a training learns from (`rollouts.py`).

Invariant: token ids go in and come out as they are; equal weights, prompts and seed give the same.
A draw has the model's own shares: nothing of the checkpoint's generation settings bends it, which
no comparison of log-probabilities would see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled answer.

    Attributes:
        ids: its tokens, the one that ends it included.
        logprobs: [tokens] what the sampler says each of them had, in nats.
        finished: it ended by itself, not at the longest length.
    """

    ids: tuple[int, ...]
    logprobs: torch.Tensor
    finished: bool


class Sampler(Protocol):
    """Who gives answers: token ids in, token ids and log-probabilities out.

    Attributes:
        told: of the last call, for the step's log.
    """

    @property
    def told(self) -> Mapping[str, float]: ...

    def durable(self) -> None:
        """What was sampled so far is in a checkpoint: it will not be asked for again."""

    def sample(
        self, prompts: Sequence[Sequence[int]], count: int, most: int, seed: int | None
    ) -> list[list[Sample]]:
        """`count` answers to each prompt, at temperature 1.

        Args:
            most: longest answer in tokens.
            seed: of what is drawn; None takes the likeliest token each time.
        """
        ...


class HuggingFaceSampler:
    """Samples by the very model that is trained, in Hugging Face's `generate`.

    Args:
        model: base with method.
        pad: the id that padding is filled with.
        ends: ids that end an answer.
    """

    def __init__(self, model: Any, pad: int, ends: Sequence[int]) -> None:
        self.model, self.pad, self.ends = model, pad, [*ends]
        self.told: dict[str, float] = {}

    def durable(self) -> None:
        """Nothing is kept: equal weights, seed and step sample the same."""

    def sample(
        self, prompts: Sequence[Sequence[int]], count: int, most: int, seed: int | None
    ) -> list[list[Sample]]:
        from transformers import LogitsProcessorList

        longest = max(len(prompt) for prompt in prompts)
        shape = (len(prompts), longest)
        ids, mask = torch.full(shape, self.pad), torch.zeros(shape, dtype=torch.long)
        for row, prompt in enumerate(prompts):  # on the left, so that answers begin together
            ids[row, longest - len(prompt) :] = torch.tensor([*prompt])
            mask[row, longest - len(prompt) :] = 1
        device = next(self.model.parameters()).device
        self.model.eval()
        with (
            torch.no_grad(),
            torch.random.fork_rng(),
            _nothing_of_the_checkpoint(self.model),
        ):
            if seed is not None:
                torch.manual_seed(seed)
            told = _Told()
            drawn = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
            sequences = self.model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=most,
                num_return_sequences=count,
                pad_token_id=self.pad,
                eos_token_id=self.ends,
                logits_processor=LogitsProcessorList([told]),
                **(drawn if seed is not None else {"do_sample": False}),
            )
        self.model.train()
        given, logprobs = sequences[:, longest:].tolist(), told.logprobs(sequences)
        samples = [self._cut(*one) for one in zip(given, logprobs, strict=True)]
        return [samples[start : start + count] for start in range(0, len(samples), count)]

    def _cut(self, ids: list[int], logprobs: torch.Tensor) -> Sample:
        """Without the padding behind the token that ends it."""
        for place, token in enumerate(ids):
            if token in self.ends:
                return Sample(tuple(ids[: place + 1]), logprobs[: place + 1], True)
        return Sample(tuple(ids), logprobs[: len(ids)], False)


class _Told:
    """What the model said of each token that was drawn, without keeping a step's vocabulary longer
    than until its token is known: `generate` asks it before each draw, and it changes nothing."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None
        self._found: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """[answers, tokens so far], [answers, vocabulary] → the latter as it is."""
        self._take(input_ids)
        self._last = scores.float().log_softmax(-1)
        return scores

    def logprobs(self, sequences: torch.Tensor) -> torch.Tensor:
        """[answers, longest answer] of all that was drawn, in nats, on the CPU."""
        self._take(sequences)
        self._last = None
        return torch.stack(self._found, dim=1).cpu()

    def _take(self, ids: torch.Tensor) -> None:
        if self._last is not None:
            self._found.append(self._last.gather(1, ids[:, -1:])[:, 0])


@contextmanager
def _nothing_of_the_checkpoint(model: Any) -> Iterator[None]:
    """The model without the generation settings of its checkpoint, which `generate` would fill in
    where a call does not set them; afterwards it has them again."""
    from transformers import GenerationConfig

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own, base.generation_config = base.generation_config, GenerationConfig()
    try:
        yield
    finally:
        base.generation_config = own
