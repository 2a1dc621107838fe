"""What a fine-tuning method is to the rest of the build: one object, one file, one table entry.

Invariant: everything but `attach` and the training hooks is pure arithmetic on the base's shape, so
that a plan never loads a model. PEFT and torch are imported inside the functions that need them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.models import (
    AdaloraMethod,
    FullMethod,
    LoraMethod,
    PromptMethod,
    ServeTable,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

Table = TypeVar("Table", LoraMethod, AdaloraMethod, FullMethod, PromptMethod)

Form = Literal["lora", "prompt", "prefix"]

# The ranks vLLM allocates for (`MaxLoRARanks` in vllm/config/lora.py, 0.32).
ENGINE_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, slots=True)
class Default:
    """A default and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True, slots=True)
class ServableForm:
    """How a release of this method will be served, known before it is trained.

    `rank` is the LoRA rank the engine must allow; None when it follows from the energy of the
    trained weight delta (then `max_rank` bounds it).
    """

    form: Form
    origin: Literal["native", "exact", "approximate"]
    via: str
    rank: int | None = None
    max_rank: int | None = None
    virtual_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Lint:
    """A choice that is allowed but unusual; `source` says who found otherwise."""

    key: str
    message: str
    source: str


def engine_rank(rank: int) -> int:
    """The smallest rank the engine allocates that holds `rank` (≤512)."""
    return next(allowed for allowed in ENGINE_RANKS if allowed >= rank)


class Technique(ABC, Generic[Table]):
    """One fine-tuning method.

    Attributes:
        kind: what `method.kind` says.
        title: its name in the literature.
        source: the paper.
        form: what the engine loads.
        learning_rate: used when the manifest gives none.
        soft_prompt: it adds virtual tokens in front of the sequence.
        cut: what the engine loads is a LoRA cut from the weight delta, not all of it.
    """

    kind: str
    title: str
    source: str
    form: Form
    learning_rate: Default
    soft_prompt: bool = False
    cut: bool = False
    gradient_checkpointing: bool = True

    @abstractmethod
    def trainable(self, shape: BaseShape, table: Table) -> int:
        """Number of trained parameters, exactly."""

    @abstractmethod
    def servable(self, shape: BaseShape, table: Table, serve: ServeTable) -> ServableForm:
        """The form the engine will load."""

    @abstractmethod
    def attach(self, model: nn.Module, table: Table, steps: int) -> nn.Module:
        """The model with the method's trainable parameters, ready to train.

        Args:
            model: the base, a `transformers` causal language model.
            table: the manifest's `[method]`.
            steps: optimizer steps of the whole training (AdaLoRA's schedule needs them).
        """

    def lints(self, shape: BaseShape, table: Table) -> list[Lint]:
        """Unusual choices in the method's own table."""
        return []

    def best_from(self, table: Table, steps: int) -> int:
        """The first step whose evaluation may become the best checkpoint."""
        return 0

    def extra_loss(self, model: nn.Module) -> torch.Tensor | None:
        """A regularizer added to the loss, if the method has one."""
        return None

    def before_zero_grad(self, model: nn.Module, step: int) -> None:
        """Called after optimizer step number `step` (from 1), while gradients are still there."""
        return None

    def before_save(self, model: nn.Module) -> None:
        """Called before the adapter is written, when the best weights are in place."""
        return None

    def state(self, model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """What the method remembers besides weights: tensors, and JSON values."""
        return {}, {}

    def restore(
        self, model: nn.Module, tensors: dict[str, torch.Tensor], values: dict[str, Any]
    ) -> None:
        """Put back what `state` gave."""
        return None
