"""What the reference, HF and PEFT, answers: greedy tokens and the first log-probabilities.

Invariant: one prompt at a time, without padding, in float32: nothing but the model decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One greedy answer.

    Attributes:
        tokens: ids, the token that ended it included.
        first: the first token's log-probabilities by id: all of the vocabulary from the reference,
            the top 20 from the engine.
    """

    tokens: tuple[int, ...]
    first: dict[int, float]


def peft_answers(
    checkpoint: Path, adapter: Path | None, prompts: Sequence[Sequence[int]], *, max_tokens: int
) -> list[Answer]:
    """Load a checkpoint, with a PEFT folder on it if given, and answer every prompt.

    Args:
        prompts: token ids.
    """
    import torch
    from transformers import AutoTokenizer, GenerationConfig

    from adapterworks.builders.engines.huggingface import load_model

    model: Any = load_model(checkpoint, adapter).eval()
    end = AutoTokenizer.from_pretrained(checkpoint).eos_token_id
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=end,
        pad_token_id=end,
        output_logits=True,
        return_dict_in_generate=True,
    )
    answers = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)], device=model.device)
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config
            )
        first = output.logits[0][0].float().log_softmax(-1).tolist()
        answers.append(
            Answer(tuple(output.sequences[0, len(prompt) :].tolist()), dict(enumerate(first)))
        )
    return answers


def equal_share(got: Sequence[Answer], expected: Sequence[Answer]) -> float:
    """Share of positions with the same token; a missing token is a different one."""
    pairs = list(zip(got, expected, strict=True))
    same = sum(a == b for g, e in pairs for a, b in zip(g.tokens, e.tokens, strict=False))
    longest = sum(max(len(g.tokens), len(e.tokens)) for g, e in pairs)
    return same / longest


def largest_difference(got: Sequence[Answer], expected: Sequence[Answer]) -> float:
    """Largest difference of a first token's log-probability over the engine's top 20, in nats."""
    return max(
        abs(value - e.first[token])
        for g, e in zip(got, expected, strict=True)
        for token, value in g.first.items()
    )
