"""Full-parameter fine-tuning: every weight of the base is trained.

Invariant: the release keeps the full weights under `full/`; what the engine loads beside other
adapters is a LoRA of the weight delta of every linear, cut by SVD at the smallest rank the engine
allows that keeps `ENERGY` of the deltas' energy, up to `MAX_RANK`. Changes of embeddings and norms
cannot be LoRA here; each is reported with its size relative to the linears' delta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import energies, read_weights, write_cut
from adapterworks.builders.methods.linears import of_text
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import ENGINE_RANKS, Default, ServableForm, Technique
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import BaseTable, ServeTable
from adapterworks.registry.releases.forms import LORA

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
        trained, base = read_weights(source.adapter), read_weights(source.served)
        names = {f"{linear.name}.weight" for linear in source.shape.linears}
        rank = source.manifest.serve.conversion_rank
        whole, spectrum = _energy(_deltas(trained, base, names), summed=rank is None)
        if not whole:
            raise Refused("training changed no linear layer", hint="raise `train.learning_rate`")
        modules = (
            (name.removesuffix(".weight"), delta) for name, delta in _deltas(trained, base, names)
        )
        written = write_cut(
            folder,
            modules,
            rank or _rank_by_energy(spectrum, whole),
            source.manifest.base.model,
            source.paths(name.removesuffix(".weight") for name in names),
        )
        others = base.keys() & trained.keys() - names
        sizes = {name: _norm(delta) for name, delta in _deltas(trained, base, others)}
        left_out = {name: size / whole**0.5 for name, size in sizes.items() if size > 0}
        return replace(written, left_out=left_out)


def _deltas(
    trained: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor], names: Set[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    """(parameter, ΔW float32), one after the other: both checkpoints are mapped, and all
    deltas together would take as much memory as the model that was trained."""
    for name in sorted(names):
        yield name, trained[name].float() - base[name].float()


def _energy(
    deltas: Iterator[tuple[str, torch.Tensor]], *, summed: bool
) -> tuple[float, torch.Tensor]:
    """‖Δ‖² of all together, and the sum of their spectra's first `MAX_RANK` values if it is asked
    for: to decompose each takes as long as to cut it."""
    import torch

    whole, spectrum = 0.0, torch.zeros(MAX_RANK, dtype=torch.float64)
    for _, delta in deltas:
        whole += _norm(delta) ** 2
        if summed:
            spectrum += _padded(energies(delta), MAX_RANK)
    return whole, spectrum


def _norm(delta: torch.Tensor) -> float:
    """‖Δ‖ (Frobenius), added up in float64 without a copy of it."""
    import torch

    return float(torch.linalg.vector_norm(delta, dtype=torch.float64))


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
