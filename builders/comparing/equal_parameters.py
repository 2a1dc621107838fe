"""Methods compared at an equal number of trained parameters: rank or virtual tokens follow from it.

Full fine-tuning has no such number, and prompt tuning can hardly reach that of a LoRA: the nearest
one is taken, and a comparison shows what each method came to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.models import AdaloraMethod, LoraMethod, Method, PromptMethod

RANKS = range(1, 257)
# AdaLoRA starts at 1.5 times the rank it ends with (Zhang et al. 2023, §4).
_INITIAL = 1.5
# More virtual tokens than this leave small bases no room for rows.
TOKENS = range(1, 513)


def parameters(shape: BaseShape, table: Method) -> int:
    """Trained parameters of a method's table on a base."""
    technique: Any = METHODS[table.kind]
    return int(technique.trainable(shape, table))


def at_parameters(shape: BaseShape, table: Method, target: int) -> Method:
    """The method's table with the rank, or the virtual tokens, whose count is nearest to `target`.

    α keeps its ratio to the rank.
    """
    return min(_candidates(table), key=lambda one: abs(parameters(shape, one) - target))


def _candidates(table: Method) -> Iterable[Method]:
    if isinstance(table, LoraMethod):
        ratio = 2.0 if table.alpha is None else table.alpha / table.rank
        return [
            table.model_copy(update={"rank": rank, "alpha": max(1, round(ratio * rank))})
            for rank in RANKS
        ]
    if isinstance(table, AdaloraMethod):
        return [
            table.model_copy(update={"rank": max(1, round(rank / _INITIAL)), "initial_rank": rank})
            for rank in RANKS
        ]
    if isinstance(table, PromptMethod):
        return [table.model_copy(update={"virtual_tokens": count}) for count in TOKENS]
    return [table]
