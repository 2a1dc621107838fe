"""LoRA factors: written as PEFT and the engine read them, padded, and cut from a full delta.

Invariant: a written folder has α = rank, so its scale is 1 and everything is in the factors; no
configuration field can change what they mean.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.conversion import Conversion
from adapterworks.builders.methods.technique import engine_rank
from adapterworks.registry.bases.complete import names_in_model, weight_files
from adapterworks.registry.releases.base_names import public_name
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Factors:
    """ΔW ≈ B·A of one module: A [rank, in_features], B [out_features, rank], float32."""

    a: torch.Tensor
    b: torch.Tensor

    @property
    def rank(self) -> int:
        return int(self.a.shape[0])


def cut(delta: torch.Tensor, rank: int) -> Factors:
    """The best approximation of a delta [out, in] at a rank (Eckart–Young), singular values shared.

    Through the eigenvectors of the smaller Gram matrix in float64: exact like an SVD, a fraction of
    its time on a CPU.
    """
    import torch

    wide = delta.double()
    transposed = wide.shape[0] > wide.shape[1]
    if transposed:
        wide = wide.T
    values, vectors = torch.linalg.eigh(wide @ wide.T)
    left = vectors.flip(-1)[:, :rank]  # eigh sorts upwards
    right = left.T @ wide
    scale = values.flip(-1)[:rank].clamp_min(1e-30) ** 0.25
    b, a = (left * scale), right / scale[:, None]
    if transposed:
        a, b = b.T, a.T
    return Factors(a.float().contiguous(), b.float().contiguous())


def balanced(factors: Factors) -> Factors:
    """The same product with its singular values shared, so that no part of it cancels another.

    B·A of a difference, [B, −B₀]·[A; A₀], is much smaller than either of its two products: in 16
    bits, as an engine on a GPU holds it, the rounding of both would stay and the difference go.
    Through QR of both sides and the SVD of what is between, in float64; the rank stays.
    """
    import torch

    left, of_left = torch.linalg.qr(factors.b.double())
    right, of_right = torch.linalg.qr(factors.a.double().T)
    u, values, v = torch.linalg.svd(of_left @ of_right.T, full_matrices=False)
    root = values.sqrt()
    b, a = left @ (u * root), (root[:, None] * v) @ right.T
    whole_a, whole_b = torch.zeros_like(factors.a), torch.zeros_like(factors.b)
    whole_a[: len(root)], whole_b[:, : len(root)] = a.float(), b.float()
    return Factors(whole_a, whole_b)


def energies(delta: torch.Tensor) -> torch.Tensor:
    """Squared singular values of a delta, largest first, float64."""
    import torch

    wide = delta.double()
    gram = wide @ wide.T if wide.shape[0] <= wide.shape[1] else wide.T @ wide
    return torch.linalg.eigvalsh(gram).flip(-1).clamp_min(0)


def relative_error(deltas: dict[str, torch.Tensor], factors: dict[str, Factors]) -> float:
    """‖Δ − B·A‖ / ‖Δ‖ over all modules together (Frobenius)."""
    lost = sum(
        float((delta - factors[name].b @ factors[name].a).double().square().sum())
        for name, delta in deltas.items()
    )
    whole = sum(float(delta.double().square().sum()) for delta in deltas.values())
    return (lost / whole) ** 0.5 if whole else 0.0


def write_cut(
    folder: Path,
    deltas: Iterable[tuple[str, torch.Tensor]],
    rank: int,
    base: str,
    targets: list[str] | None = None,
) -> Conversion:
    """Cut every module's weight delta to one rank, and write the LoRA.

    Args:
        deltas: (module name in the base, ΔW [out, in] float32), made one after the other.
        rank: at most this; a module smaller than it is exact.
        base: the base's name, for the record only.
        targets: as of `write_lora`.
    """
    factors: dict[str, Factors] = {}
    errors: dict[str, float] = {}
    lost = whole = 0.0
    for module, delta in deltas:
        factors[module] = cut(delta, min(rank, *delta.shape))
        errors[module] = relative_error({module: delta}, factors)
        energy = float(delta.double().square().sum())
        whole += energy
        lost += errors[module] ** 2 * energy
    return Conversion(
        Servable(
            form=LORA,
            origin="approximate",
            rank=write_lora(folder, factors, base, targets),
            target_modules=tuple(leaves(factors)),
            error=(lost / whole) ** 0.5 if whole else 0.0,
        ),
        modules=errors,
    )


def write_lora(
    folder: Path, factors: dict[str, Factors], base: str, targets: list[str] | None = None
) -> int:
    """Write factors as a PEFT LoRA folder; returns the rank, padded to one the engine allows.

    Args:
        factors: by module name in the base (`model.layers.0.self_attn.q_proj`).
        base: the base's name, for the record only.
        targets: PEFT's `target_modules`; the modules' last names if not given, which also names
            those of other layers.
    """
    import torch
    from safetensors.torch import save_file

    rank = engine_rank(max(entry.rank for entry in factors.values()))
    tensors = {}
    for module, entry in factors.items():
        a = torch.zeros(rank, entry.a.shape[1])
        b = torch.zeros(entry.b.shape[0], rank)
        a[: entry.rank], b[:, : entry.rank] = entry.a, entry.b
        tensors[f"{PREFIX}{module}.lora_A.weight"] = a
        tensors[f"{PREFIX}{module}.lora_B.weight"] = b
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    configuration = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": public_name(base),
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
        "target_modules": targets or leaves(factors),
    }
    text = json.dumps(configuration, indent=2, sort_keys=True) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    return rank


def leaves(modules: dict[str, Factors] | set[str] | list[str]) -> list[str]:
    """The last parts of module names, sorted, each once: PEFT's `target_modules`."""
    return sorted({name.rsplit(".", 1)[-1] for name in modules})


def paths_of(configuration: Mapping[str, Any]) -> list[str] | None:
    """PEFT's `target_modules` where they are paths of some modules among those of a name."""
    named = configuration.get("target_modules")
    if not isinstance(named, list) or not any("." in name for name in named):
        return None
    return sorted(named)


def read_adapter(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors (without PEFT's prefix) and the configuration of an adapter folder."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    configuration = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, configuration


def module_rank(configuration: Mapping[str, Any], module: str) -> int:
    """r of one module: `rank_pattern`'s, else `r`."""
    return int(by_pattern(configuration.get("rank_pattern"), module, configuration["r"]))


def module_scale(configuration: Mapping[str, Any], module: str) -> float:
    """s of one module, as PEFT computes it (peft/tuners/lora/layer.py): α/r, or α/√r with rsLoRA
    (Kalajdzievski 2023), where `rank_pattern` and `alpha_pattern` name other r and α."""
    rank = module_rank(configuration, module)
    alpha = by_pattern(configuration.get("alpha_pattern"), module, configuration["lora_alpha"])
    return float(alpha / (math.sqrt(rank) if configuration.get("use_rslora") else rank))


def by_pattern(patterns: Mapping[str, float] | None, module: str, default: float) -> float:
    """The first pattern's value that a module's name ends with (peft `get_pattern_key`)."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def read_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """All tensors of a dense checkpoint, by the names that its model has for them."""
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(checkpoint):
        tensors.update(load_file(path))
    names = names_in_model(checkpoint, tensors)
    return {names[name]: tensor for name, tensor in tensors.items()}
