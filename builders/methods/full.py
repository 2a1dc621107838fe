"""Full-parameter fine-tuning: every weight of the base is trained.

Invariant: the release keeps the full weights under `full/`; what the engine loads beside other
adapters is a LoRA of the weight delta of every linear, cut by SVD at the smallest rank the engine
allows that keeps `ENERGY` of the deltas' energy, up to `MAX_RANK`. Changes of embeddings and norms
cannot be LoRA here; each is reported with its size relative to the linears' delta.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import (
    Factors,
    cut,
    energies,
    leaves,
    read_weights,
    write_lora,
)
from adapterworks.builders.methods.shape import BaseShape, of_text
from adapterworks.builders.methods.technique import ENGINE_RANKS, Default, ServableForm, Technique
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import BaseTable, ServeTable
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch
    from torch import nn

MAX_RANK = 256
# Of ‖Δ‖² kept: a relative error of 0.32.
ENERGY = 0.9


class FullTable(MethodTable):
    """Full-parameter fine-tuning; served as LoRA extracted from the weight delta, or as a base."""

    kind: Literal["full"]
    """The method."""


class Full(Technique[FullTable]):
    """All parameters."""

    table = FullTable
    title = "Full-parameter fine-tuning"
    source = "Howard & Ruder 2018, arXiv:1801.06146; Ouyang et al. 2022, arXiv:2203.02155"
    form = LORA
    cut = True
    whole_model = True
    shards = True
    rounds = True
    learning_rate = Default(2e-5, "Taori et al. 2023 (Alpaca), Touvron et al. 2023 §3.1 (2e-5)")
    relief = "`method.kind` `lora` or `qlora` trains a few per cent of the parameters"

    def trainable(self, shape: BaseShape, table: FullTable) -> int:
        return shape.parameters - shape.beside

    def servable(self, shape: BaseShape, table: FullTable, serve: ServeTable) -> ServableForm:
        if serve.conversion_rank:
            rank = next(r for r in ENGINE_RANKS if r >= serve.conversion_rank)
            return ServableForm(LORA, "approximate", f"SVD of the delta at rank {rank}", rank)
        return ServableForm(LORA, "approximate", "SVD of the delta by energy", max_rank=MAX_RANK)

    def weight_bytes(self, shape: BaseShape, base: BaseTable, *, width: int, trainable: int) -> int:
        """Master weights in float32, and no frozen ones beside them."""
        return 4 * shape.parameters

    def release_bytes(self, shape: BaseShape, trainable: int) -> int:
        """The weights, and a LoRA of their delta."""
        return 5 * shape.parameters

    def load(self, checkpoint: Path, base: BaseTable, dtype: torch.dtype, device: str) -> nn.Module:
        """In float32, whatever the precision: the forward pass runs under autocast."""
        import torch

        return super().load(checkpoint, base, torch.float32, device)

    def attach(self, model: nn.Module, table: FullTable, steps: int) -> nn.Module:
        """All that text passes through: what a base has for images never gets a gradient, which
        several processes would wait for."""
        model.requires_grad_(False)
        for parameter in of_text(model):
            parameter.requires_grad_(True)
        return model

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Cut the delta of every linear.

        Raises:
            Refused: training changed nothing.
        """
        import torch

        trained, base = read_weights(source.adapter), read_weights(source.served)
        names = {f"{linear.name}.weight" for linear in source.shape.linears}
        deltas = {
            name.removesuffix(".weight"): trained[name].float() - base[name].float()
            for name in names
        }
        whole = sum(float(delta.double().square().sum()) for delta in deltas.values())
        if not whole:
            raise Refused("training changed no linear layer", hint="raise `train.learning_rate`")
        spectra = {name: energies(delta) for name, delta in sorted(deltas.items())}
        rank = source.manifest.serve.conversion_rank or _rank_by_energy(
            torch.stack([_padded(values, MAX_RANK) for values in spectra.values()]).sum(dim=0),
            whole,
        )
        factors: dict[str, Factors] = {}
        errors: dict[str, float] = {}
        lost = 0.0
        for name, delta in sorted(deltas.items()):
            factors[name] = cut(delta, min(rank, *delta.shape))
            rest = (delta - factors[name].b @ factors[name].a).double().square().sum()
            lost += float(rest)
            energy = float(delta.double().square().sum())
            errors[name] = (float(rest) / energy) ** 0.5 if energy else 0.0
        left_out = {
            name: float((trained[name].float() - base[name].float()).double().norm()) / whole**0.5
            for name in sorted(base.keys() & trained.keys() - names)
        }
        written = write_lora(folder, factors, source.manifest.base.model, source.paths(factors))
        return Conversion(
            Servable(
                form=LORA,
                origin="approximate",
                rank=written,
                target_modules=tuple(leaves(factors)),
                error=(lost / whole) ** 0.5,
            ),
            modules=errors,
            left_out={name: size for name, size in left_out.items() if size > 0},
        )


def _padded(values: torch.Tensor, length: int) -> torch.Tensor:
    import torch

    padded = torch.zeros(length, dtype=values.dtype)
    padded[: min(length, len(values))] = values[:length]
    return padded


def _rank_by_energy(spectrum: torch.Tensor, whole: float) -> int:
    """The smallest engine rank that keeps `ENERGY` of the summed spectra, at most `MAX_RANK`."""
    kept = spectrum.cumsum(dim=0) / whole
    for rank in ENGINE_RANKS:
        if rank <= MAX_RANK and float(kept[rank - 1]) >= ENERGY:
            return rank
    return MAX_RANK


FULL = Full()
