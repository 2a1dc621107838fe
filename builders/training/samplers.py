"""Samplers: who gives the answers that a training learns from (`rollouts.py`).

Invariant: token ids go in and come out as they are. What is drawn to a prompt is a function of
weights, prompt and its own seed, whatever it is generated together with (up to the rounding of
floats). A draw has the model's own shares: nothing of the checkpoint's generation settings bends
it, which no comparison of log-probabilities would see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from adapterworks.builders.generation.grouped_query_attention import grouped_query_attention
from adapterworks.builders.generation.kv_cache import holds_rows, preallocated_cache
from adapterworks.builders.methods.prompt_cache import has_soft_prompt, prompt_cache
from adapterworks.manifests.digests import hash64

Floats = NDArray[np.float64]
# Engines draw answer i of a prompt with its seed + i: seeds are so far apart that none meets the
# next (`generations` are 256 at most).
_APART = 1024


def prompt_seed(seed: int, step: int, row: int) -> int:
    """The seed of what is drawn to a row's prompt at a step: no other row, and no other step, has
    draws in common with it.

    Args:
        seed: of the training.
        step: from 0.
        row: index in the training rows.
    """
    # No more than JSON holds exactly, in which an engine is asked.
    return (hash64(f"{seed}:{step}:{row}") >> 11) // _APART * _APART


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
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        most: int,
        seeds: Sequence[int] | None,
    ) -> list[list[Sample]]:
        """`count` answers to each prompt, at temperature 1.

        Args:
            most: longest answer in tokens.
            seeds: of what is drawn to each prompt; None takes the likeliest token each time.
        """
        ...


class HuggingFaceSampler:
    """Samples by the very model that is trained, in Hugging Face's `generate`.

    Args:
        model: base with method.
        pad: the id that padding is filled with.
        ends: ids that end an answer.
        at_once: answers that are generated together, as the plan found room for.
        autocast: what the trainer's forward passes run under, so that both compute alike.
    """

    def __init__(
        self,
        model: Any,
        pad: int,
        ends: Sequence[int],
        at_once: int,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model, self.pad, self.ends = model, pad, [*ends]
        self.at_once, self.autocast = at_once, autocast
        self.told: dict[str, float] = {}

    def durable(self) -> None:
        """Nothing is kept: equal weights and seeds sample the same."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        most: int,
        seeds: Sequence[int] | None,
    ) -> list[list[Sample]]:
        asked = [prompt for prompt in prompts for _ in range(count)]
        draws = None if seeds is None else [_draws(s, n, most) for s in seeds for n in range(count)]
        found: list[Sample] = []
        for start in range(0, len(asked), self.at_once):
            some = slice(start, start + self.at_once)
            found += self._together(asked[some], most, None if draws is None else draws[some])
        return [found[start : start + count] for start in range(0, len(found), count)]

    def _together(
        self, prompts: Sequence[Sequence[int]], most: int, draws: Sequence[Floats] | None
    ) -> list[Sample]:
        """One answer to each, in one batch."""
        from transformers import LogitsProcessorList

        longest = max(len(prompt) for prompt in prompts)
        shape = (len(prompts), longest)
        ids, mask = torch.full(shape, self.pad), torch.zeros(shape, dtype=torch.long)
        for row, prompt in enumerate(prompts):  # on the left, so that answers begin together
            ids[row, longest - len(prompt) :] = torch.tensor([*prompt])
            mask[row, longest - len(prompt) :] = 1
        device = next(self.model.parameters()).device
        choosing = _Choosing(None if draws is None else torch.tensor(np.stack(draws)).to(device))
        self.model.eval()
        alone = _nothing_of_the_checkpoint(self.model)
        with torch.no_grad(), self.autocast(), alone, grouped_query_attention():
            model, cached = self.model, dict[str, Any]()
            if has_soft_prompt(model):
                cached["past_key_values"], virtual = prompt_cache(model, len(prompts))
                mask = torch.cat((mask.new_ones((len(prompts), virtual)), mask), dim=1)
                model = model.get_base_model()
            elif holds_rows(model):
                cached["past_key_values"] = preallocated_cache(model)
            sequences = model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=most,
                pad_token_id=self.pad,
                eos_token_id=self.ends,
                logits_processor=LogitsProcessorList([choosing]),
                do_sample=False,  # what is drawn is the likeliest that `_Choosing` leaves
                **cached,
            )
        self.model.train()
        given = sequences[:, longest:].tolist()
        return [self._cut(*one) for one in zip(given, choosing.logprobs(), strict=True)]

    def _cut(self, ids: list[int], logprobs: torch.Tensor) -> Sample:
        """Without the padding behind the token that ends it."""
        for place, token in enumerate(ids):
            if token in self.ends:
                return Sample(tuple(ids[: place + 1]), logprobs[: place + 1], True)
        return Sample(tuple(ids), logprobs[: len(ids)], False)


def _draws(seed: int, number: int, most: int) -> Floats:
    """What the tokens of one answer are drawn by, each in [0, 1): the same whatever it is generated
    together with."""
    return np.random.default_rng((seed, number)).random(most)


class _Choosing:
    """Draws a batch's next tokens and notes what the model said of them, without keeping a step's
    vocabulary longer than it takes: `generate` asks it before it takes the likeliest.

    Args:
        draws: [answers, tokens] in [0, 1), each for its place in the vocabulary's cumulated shares
            (inverse transform sampling); None leaves the likeliest as it is.
    """

    def __init__(self, draws: torch.Tensor | None) -> None:
        self._draws = draws
        self._noted: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """[answers, tokens so far], [answers, vocabulary] → the latter, of what is drawn alone."""
        said = scores.float().log_softmax(-1)
        if self._draws is None:
            chosen = said.argmax(-1, keepdim=True)
        else:
            reached = said.double().exp().cumsum(-1)
            whole = reached[:, -1:]
            at = self._draws[:, len(self._noted), None] * whole
            # Below the whole also where the product is rounded: no token is behind it.
            at = torch.minimum(at, whole.nextafter(torch.zeros_like(whole)))
            chosen = torch.searchsorted(reached, at, right=True)
        self._noted.append(said.gather(1, chosen)[:, 0])
        if self._draws is None:
            return scores
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen, 0.0)

    def logprobs(self) -> torch.Tensor:
        """[answers, longest answer] of all that was chosen, in nats, on the CPU."""
        return torch.stack(self._noted, dim=1).cpu()


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
