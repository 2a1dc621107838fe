"""IA3 (Liu et al. 2022, arXiv:2205.05638): three learned vectors a layer rescale keys, values and
the feed-forward's inner activations.

Invariant: a vector of ones changes nothing. What is served is the change of each matrix,
(diag(l) − I)·W or W·(diag(l) − I), as LoRA by truncated SVD: rescaling has full rank, so the error
is stated and bounded by `serve.max_conversion_error`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import read_adapter, read_weights, write_cut
from adapterworks.builders.methods.linears import adapted_linears, select, takes_text_alone
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import (
    Default,
    Kept,
    Lint,
    ServableForm,
    Technique,
    engine_rank,
)
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import Manifest, ServeTable
from adapterworks.registry.releases.forms import LORA

if TYPE_CHECKING:
    import torch
    from torch import nn

# Rescaling rows or columns changes a matrix at full rank.
RANK = 64


class Ia3Table(MethodTable):
    """Learned rescaling of keys, values and feed-forward activations (Liu et al. 2022)."""

    kind: Literal["ia3"]
    """The method."""
    outputs: tuple[str, ...] = ("k_proj", "v_proj")
    """Modules whose outputs are rescaled."""
    inputs: tuple[str, ...] = ("down_proj",)
    """Modules whose inputs are rescaled."""


@check("method")
def rescales_once(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """A module is rescaled on one side, and there is one."""
    table = manifest.method
    assert isinstance(table, Ia3Table)
    if both := sorted({*table.outputs} & {*table.inputs}):
        yield Problem(
            ("method", "inputs"), f"`{both[0]}` is in `outputs` too", "name it in one of them"
        )
    if not (table.outputs or table.inputs):
        yield Problem(("method", "outputs"), "nothing would be rescaled", "name a module")


class Ia3(Technique[Ia3Table]):
    """A vector beside each chosen linear."""

    table = Ia3Table
    title = "Infused adapter by inhibiting and amplifying inner activations"
    source = "Liu et al. 2022, arXiv:2205.05638"
    form = LORA
    learning_rate = Default(3e-3, "Liu et al. 2022, §3.3 (T-Few)")
    checks = (rescales_once,)
    cut = True

    def trainable(self, shape: BaseShape, table: Ia3Table) -> int:
        outputs = shape.targeted(table.outputs, key="outputs") if table.outputs else ()
        inputs = shape.targeted(table.inputs, key="inputs") if table.inputs else ()
        return sum(x.out_features for x in outputs) + sum(x.in_features for x in inputs)

    def servable(self, shape: BaseShape, table: Ia3Table, serve: ServeTable) -> ServableForm:
        rank = serve.conversion_rank or RANK
        return ServableForm(LORA, "approximate", f"SVD of the delta at {rank}", engine_rank(rank))

    def lints(self, shape: BaseShape, table: Ia3Table) -> list[Lint]:
        if table.inputs:
            return []
        return [Lint("method.inputs", "no feed-forward is rescaled", "Liu et al. 2022, §3.3")]

    def kept(self, shape: BaseShape, table: Ia3Table, width: int) -> Kept:
        """What is multiplied: keys, values, and the feed-forward's inner activations."""
        return Kept(layer=2 * shape.kv_heads * shape.head_dim + shape.intermediate)

    def attach(self, model: nn.Module, table: Ia3Table, steps: int) -> nn.Module:
        from peft import IA3Config, get_peft_model

        linears = adapted_linears(model)
        inputs = [x.name for x in select(linears, table.inputs)] if table.inputs else []
        outputs = [x.name for x in select(linears, table.outputs)] if table.outputs else []
        if takes_text_alone(model):  # else other towers have modules of the same names
            inputs, outputs = [*table.inputs], [*table.outputs]
        adapted: nn.Module = get_peft_model(
            model,
            IA3Config(
                target_modules=[*outputs, *inputs],
                feedforward_modules=inputs,
                task_type="CAUSAL_LM",
            ),
        )
        return adapted

    def convert(self, source: Source, folder: Path) -> Conversion:
        """(diag(l) − I)·W for outputs, W·(diag(l) − I) for inputs, cut."""
        scales, weights = read_adapter(source.adapter)[0], read_weights(source.served)

        def deltas() -> Iterator[tuple[str, torch.Tensor]]:
            for name, scale in sorted(scales.items()):
                module = name.removesuffix(".ia3_l")
                # [out, 1] for outputs, [1, in] for inputs: both broadcast over W [out, in].
                yield module, (scale.float() - 1) * weights[f"{module}.weight"].float()

        rank = source.manifest.serve.conversion_rank or RANK
        modules = source.paths(name.removesuffix(".ia3_l") for name in scales)
        conversion = write_cut(folder, deltas(), rank, source.manifest.base.model, modules)
        return _with_biases(conversion, scales, weights)


def _with_biases(
    conversion: Conversion, scales: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]
) -> Conversion:
    """What a bias loses: outputs are rescaled with it, and no LoRA carries a change of one.

    It is left out by name, relative to all that was learnt, and part of the error.
    """
    biases, matrices = {}, 0.0
    for name, scale in scales.items():
        module = name.removesuffix(".ia3_l")
        change = (scale.float() - 1) * weights[f"{module}.weight"].float()
        matrices += float(change.double().square().sum())
        of_outputs = scale.shape[-1] == 1  # [out, 1]
        if of_outputs and (bias := f"{module}.bias") in weights:
            lost = (scale.flatten().float() - 1) * weights[bias].float()
            biases[bias] = float(lost.double().square().sum())
    whole, all_biases = matrices + sum(biases.values()), sum(biases.values())
    if not all_biases:
        return conversion
    error = ((conversion.servable.error**2 * matrices + all_biases) / whole) ** 0.5
    return replace(
        conversion,
        servable=conversion.servable.model_copy(update={"error": error}),
        left_out={bias: (size / whole) ** 0.5 for bias, size in biases.items() if size},
    )


IA3 = Ia3()
