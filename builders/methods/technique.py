"""What a fine-tuning method is to the rest of the build: one object, one file, one table entry.

Nothing outside a method's file asks for its name: what differs between methods is an attribute or a
function here. A method is added by an instance of `Technique` under a name in
`manifests/builtin.py`, or in the entry-point group `adapterworks.methods` of any distribution.

Invariant: everything but `load`, `attach`, `convert` and the training hooks is pure arithmetic on
the base's shape, so that a plan never loads a model. PEFT and torch are imported inside the
functions that need them.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.checking import Check
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import BaseTable, ServeTable
from adapterworks.manifests.train_table import TrainTable
from adapterworks.registry.bases.causal_lm import load_causal_lm
from adapterworks.registry.releases.forms import Form

if TYPE_CHECKING:
    import torch
    from torch import nn

    from adapterworks.registry.bases.base import Base

Table = TypeVar("Table", bound=MethodTable)

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


@dataclass(frozen=True, slots=True)
class Kept:
    """What a method keeps for the backward pass, beside what a frozen base keeps anyway.

    Attributes:
        layer: numbers for each position in each layer.
        prompt: bytes for each soft prompt in front of a row.
        once: bytes, however large the batch.
    """

    layer: int = 0
    prompt: int = 0
    once: int = 0


def own_card() -> int:
    """The number of this process's GPU on its machine, as launchers say it."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def engine_rank(rank: int) -> int:
    """The smallest rank the engine allocates that holds `rank` (≤512)."""
    return next(allowed for allowed in ENGINE_RANKS if allowed >= rank)


class Technique(ABC, Generic[Table]):
    """One fine-tuning method.

    Attributes:
        table: of the manifest; its `kind: Literal[…]` is the method's name.
        title: its name in the literature.
        source: the paper.
        form: what the engine loads.
        learning_rate: used when the manifest gives none.
        checks: of a manifest, each refusing a combination with this method's keys.
        soft_prompt: it adds virtual tokens in front of the sequence.
        cut: what the engine loads is a LoRA cut from the weight delta, not all of it.
        whole_model: what it writes is a checkpoint of its own, kept under `full/`, no adapter.
        gradient_checkpointing: whether activations can be recomputed.
        quantization: of the base it is meant for, where `compare` may choose.
        rounds: whether its weights can be rounded in every step (`train.quantization_aware`).
        lightens: the table of a method that it does the same as in less memory, and adopts.
        continues: whether what a release keeps is all that a training can be continued from.
        shards: its weights may be held in parts, each process computing with whole ones a layer at
            a time; nothing of it looks at another layer's weights, or at a gradient, in between.
        relief: what else would need less memory than it does.
    """

    table: type[Table]
    title: str
    source: str
    form: Form
    learning_rate: Default
    checks: tuple[Check, ...] = ()
    soft_prompt: bool = False
    cut: bool = False
    whole_model: bool = False
    gradient_checkpointing: bool = True
    quantization: Literal["none", "nf4"] = "none"
    rounds: bool = False
    lightens: type[MethodTable] | None = None
    continues: bool = True
    shards: bool = False
    relief: str = "a smaller `train.max_length` or base would need less"

    @property
    def kind(self) -> str:
        """What `method.kind` says."""
        return str(get_args(self.table.model_fields["kind"].annotation)[0])

    # What a plan asks.

    @abstractmethod
    def trainable(self, shape: BaseShape, table: Table) -> int:
        """Number of trained parameters, exactly."""

    @abstractmethod
    def servable(self, shape: BaseShape, table: Table, serve: ServeTable) -> ServableForm:
        """The form the engine will load."""

    def lints(self, shape: BaseShape, table: Table) -> list[Lint]:
        """Unusual choices in the method's own table."""
        return []

    def train_lints(self, train: TrainTable) -> list[Lint]:
        """Choices in `[train]` that are unusual with this method."""
        return []

    def require(self, shape: BaseShape, table: Table) -> None:
        """Refuse a base that does not fit the method's own table.

        Raises:
            InvalidInput: with the reason, and what would do.
        """
        return None

    def virtual_tokens(self, table: Table) -> int:
        """Positions of the base that the method takes in front of every row."""
        return 0

    def embedded_tokens(self, table: Table) -> int:
        """Those of them that pass through the layers as embeddings, and so have logits too."""
        return 0

    def weight_bytes(self, shape: BaseShape, base: BaseTable, *, width: int, trainable: int) -> int:
        """Bytes of all weights while training: the frozen base, and what is trained in float32.

        Args:
            width: bytes of a weight in the training's precision (4 or 2).
            trainable: number of trained parameters.
        """
        return shape.parameters * width + 4 * trainable

    def kept(self, shape: BaseShape, table: Table, width: int) -> Kept:
        """Its activations: by default those of trained weights in the linears.

        Args:
            width: bytes of an activation (4 or 2).
        """
        return Kept(layer=linear_inputs(shape))

    def release_bytes(self, shape: BaseShape, trainable: int) -> int:
        """Bytes of what it trained in the release, servable form included."""
        return 8 * trainable

    def sizes(self, table: Table) -> Iterable[Table]:
        """The table in other sizes, from which an equal number of trained parameters is chosen."""
        return [table]

    def adopt(self, table: MethodTable) -> Table | None:
        """The table of another method as this one's, if it means the same here, learning rate and
        all; else None."""
        return table if isinstance(table, self.table) else None

    def semantics(self, table: Table) -> int:
        """What its code computes, as a number that is raised where that changes for some of its
        tables alone; 0 as long as `TRAINING_SEMANTICS` says all."""
        return 0

    def best_from(self, table: Table, steps: int) -> int:
        """The first step whose evaluation may become the best checkpoint."""
        return 0

    # What a training does.

    def checkpoint(self, base: Base) -> Path:
        """The folder of the base's files that `load` reads."""
        return base.served

    def load(self, checkpoint: Path, base: BaseTable, dtype: torch.dtype, device: str) -> nn.Module:
        """The base, on its device: by default the dense values it is served with.

        Args:
            checkpoint: what `self.checkpoint` named.
            base: the manifest's `[base]`.
            dtype: of the training's precision.
            device: `cpu` or `cuda`.
        """
        model: nn.Module = load_causal_lm(
            checkpoint, dtype=dtype, device_map={"": own_card()} if device == "cuda" else None
        )
        return model

    @abstractmethod
    def attach(self, model: nn.Module, table: Table, steps: int) -> nn.Module:
        """The model with the method's trainable parameters, ready to train.

        Args:
            model: the base, a `transformers` causal language model.
            table: the manifest's `[method]`.
            steps: optimizer steps of the whole training (AdaLoRA's schedule needs them).
        """

    def unset(self, table: Table) -> Table:
        """The table of the same parameters without values that are computed from the base's: what
        `attach` is given where the base has shapes and no numbers."""
        return table

    def needs_rows(self, table: Table) -> bool:
        """Whether `begin` looks at rows."""
        return False

    def begin(self, model: nn.Module, table: Table, batches: Sequence[dict[str, Any]]) -> None:
        """Set values that depend on the training rows, once, before the first step.

        Args:
            model: with the method attached.
            batches: of the first steps' rows, as the base is called with them; the same for every
                micro batch and in every process.
        """
        return None

    def rates(self, model: nn.Module, table: Table) -> dict[str, float]:
        """What the learning rate is multiplied by, for parameters that have one of their own."""
        return {}

    def begun_with(self, table: Table) -> Table:
        """The table that a release must have been trained with to be continued with this one."""
        return table

    def held(self, table: Table) -> Table:
        """The table that what a release keeps is an adapter of, where its training wrote another
        than it had."""
        return table

    def grown(
        self,
        given: Mapping[str, torch.Tensor],
        new: Mapping[str, torch.Tensor],
        table: Table,
        folder: Path,
    ) -> Mapping[str, torch.Tensor]:
        """The tensors that a new adapter begins with, of those of the release that is continued.

        Args:
            given: the release's, by name.
            new: the new adapter's.
            folder: the release's `adapter/`.

        Raises:
            Refused: they do not fit.
        """
        return given

    def extra_loss(self, model: nn.Module) -> torch.Tensor | None:
        """A regularizer added to the loss, if the method has one."""
        return None

    def before_zero_grad(self, model: nn.Module, step: int) -> None:
        """Called once a step, of number `step` (from 1), after its last update of the weights and
        while that update's gradients are still there; a step that sampled nothing to learn from has
        none."""
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

    def save(self, model: nn.Module, folder: Path, base: str) -> None:
        """Write what was trained: PEFT's adapter, or the whole checkpoint.

        Args:
            base: the base's name, for the record only.
        """
        writes: Any = model
        writes.save_pretrained(folder, safe_serialization=True)

    # What the engine gets.

    @abstractmethod
    def convert(self, source: Source, folder: Path) -> Conversion:
        """Write the form the engine loads into `folder`.

        Raises:
            Refused: it cannot be served; the release is kept without a served form.
        """


def linear_inputs(shape: BaseShape) -> int:
    """Numbers a position keeps in a layer where linears have trained weights: their inputs, and
    what their outputs are made from."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return 4 * shape.hidden + 2 * queries + 3 * keys + shape.intermediate


def largest_linear(shape: BaseShape) -> int:
    """Numbers of the largest weight matrix."""
    return max(linear.in_features * linear.out_features for linear in shape.linears)
