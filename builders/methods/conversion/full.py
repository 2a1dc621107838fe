"""Full fine-tuning → LoRA: the delta of every linear, cut by SVD at a rank chosen by energy.

Invariant: the rank is the smallest the engine allows that keeps `ENERGY` of the deltas' energy, up
to `MAX_RANK`. Changes of embeddings and norms cannot be LoRA here; each is reported with its size
relative to the linears' delta. The full weights stay in the release under `full/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.methods.conversion.conversion import Conversion, Source
from adapterworks.builders.methods.conversion.factors import (
    Factors,
    cut,
    energies,
    leaves,
    read_weights,
    write_lora,
)
from adapterworks.builders.methods.full import MAX_RANK
from adapterworks.builders.methods.technique import ENGINE_RANKS
from adapterworks.manifests.errors import Refused
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch

# Of ‖Δ‖² kept: a relative error of 0.32.
ENERGY = 0.9


def convert_full(source: Source, folder: Path) -> Conversion:
    """Cut the delta of every linear.

    Raises:
        Refused: training changed nothing.
    """
    import torch

    trained, base = read_weights(source.adapter), read_weights(source.served)
    names = {f"{linear.name}.weight" for linear in source.shape.linears}
    deltas = {
        name.removesuffix(".weight"): trained[name].float() - base[name].float() for name in names
    }
    whole = sum(float(delta.double().square().sum()) for delta in deltas.values())
    if not whole:
        raise Refused("training changed no linear layer", hint="raise `train.learning_rate`")
    spectra = {name: energies(delta) for name, delta in sorted(deltas.items())}
    rank = source.manifest.serve.conversion_rank or _rank_by_energy(
        torch.stack([_padded(values, MAX_RANK) for values in spectra.values()]).sum(dim=0), whole
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
    written = write_lora(folder, factors, source.manifest.base.model)
    return Conversion(
        Servable(
            form="lora",
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
