"""Combining the LoRA factors of several adapters of one base, module by module.

The rules are PEFT's own functions (`peft.utils.merge_utils`), applied as `add_weighted_adapter`
applies them: a module that only some adapters have is combined from those, weights are not
normalized, and on factors the weight and the adapter's scale go half into A and half into B.

Invariant: the result's scale is 1, and a drawn result depends on the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.merging.rules.recipe import Recipe
from adapterworks.builders.methods.factors import Factors, cut, read_adapter
from adapterworks.manifests.errors import Refused

if TYPE_CHECKING:
    import torch

# A result whose share of the parts' energy is below this is float32's rounding.
_ROUNDING = 1e-12
_Merge = Callable[[list["torch.Tensor"], "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True, slots=True)
class Scaled:
    """One module of an adapter as PEFT applies it: ΔW = scale·B·A."""

    factors: Factors
    scale: float

    @property
    def delta(self) -> torch.Tensor:
        """ΔW [out_features, in_features], float32."""
        return self.scale * (self.factors.b @ self.factors.a)


@dataclass(slots=True)
class Combined:
    """The merged factors by module, and how far they are from what they stand for.

    Attributes:
        error: relative error (Frobenius) to what the rule asks for: the weighted sum of the deltas,
            or the pruned deltas. None for the rules that are defined on factors alone.
        from_sum: relative distance to the weighted sum of the deltas, whatever the rule.
        modules: the error by module.
    """

    factors: dict[str, Factors]
    error: float | None
    from_sum: float
    modules: dict[str, float] = field(default_factory=dict)


def read_lora(folder: Path) -> dict[str, Scaled]:
    """A PEFT LoRA folder by module; scales as PEFT computes them, patterns and rsLoRA included."""
    from peft.utils.other import get_pattern_key

    tensors, configuration = read_adapter(folder)
    config: dict[str, Any] = configuration
    alphas: dict[str, float] = config.get("alpha_pattern") or {}
    modules = {}
    for module in sorted({name.rpartition(".lora_")[0] for name in tensors}):
        a = tensors[f"{module}.lora_A.weight"].float()
        b = tensors[f"{module}.lora_B.weight"].float()
        alpha = alphas.get(get_pattern_key(list(alphas), module), config["lora_alpha"])
        divisor = len(a) ** 0.5 if config.get("use_rslora") else len(a)
        modules[module] = Scaled(Factors(a, b), float(alpha) / divisor)
    return modules


def combine(
    adapters: Sequence[Mapping[str, Scaled]], weights: Sequence[float], recipe: Recipe
) -> Combined:
    """Merge the adapters by the recipe's rule.

    Args:
        adapters: modules by name, as `read_lora` gives them.
        weights: one for each.
        recipe: complete for its rule: density, seed and rank where it uses them.

    Raises:
        Refused: a rule on factors, and the adapters have different ranks.
    """
    import torch

    merge = partial(_merged, recipe)
    factors: dict[str, Factors] = {}
    missed, sums = _Distance(), _Distance()
    given = left = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed or 0)
        for module in sorted({name for adapter in adapters for name in adapter}):
            pairs = zip(adapters, weights, strict=True)
            parts = [(adapter[module], weight) for adapter, weight in pairs if module in adapter]
            deltas = [weight * part.delta for part, weight in parts]
            total = torch.stack(deltas).sum(dim=0)
            wanted = total
            if recipe.rule.space == "rows":
                merged = _side_by_side(parts)
            elif recipe.rule.space == "factors":
                merged = _each_for_itself(parts, merge, module)
            else:
                plain = [part.delta for part, _ in parts]
                wanted = merge(plain, torch.tensor([weight for _, weight in parts]))
                assert recipe.rank is not None
                merged = cut(wanted, min(recipe.rank, *wanted.shape))
            factors[module] = merged
            product = merged.b @ merged.a
            missed.add(module, wanted, product)
            sums.add(module, total, product)
            given += sum(_energy(delta) for delta in deltas)
            left += _energy(product)
    if left <= _ROUNDING * given:
        raise Refused(
            "the merged adapter changes nothing: its parts cancel out",
            hint="look at the weights; those of adapters that are taken away are negative",
        )
    error = missed.relative if _has_target(recipe) else None
    return Combined(factors, error, sums.relative, missed.modules if error is not None else {})


def _merged(recipe: Recipe, tensors: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    return recipe.rule.merge(tensors, weights, recipe.density)


def _has_target(recipe: Recipe) -> bool:
    """Whether there is a delta that the rule's result stands for."""
    return recipe.rule.space != "factors" or not recipe.rule.prunes


def _side_by_side(parts: Sequence[tuple[Scaled, float]]) -> Factors:
    """Ranks add up; weights and scales go into B."""
    import torch

    return Factors(
        torch.cat([part.factors.a for part, _ in parts], dim=0),
        torch.cat([part.factors.b * (part.scale * weight) for part, weight in parts], dim=1),
    )


def _each_for_itself(parts: Sequence[tuple[Scaled, float]], merge: _Merge, module: str) -> Factors:
    import torch

    ranks = sorted({part.factors.rank for part, _ in parts})
    if len(ranks) > 1:
        shown = " and ".join(str(rank) for rank in ranks)
        raise Refused(
            f"adapters of rank {shown} cannot be merged factor by factor (`{module}`)",
            hint="use `cat` or a rule that ends in `svd`",
        )
    scaled = torch.tensor([part.scale * weight for part, weight in parts])
    half = scaled.abs().sqrt()
    # The sign goes to one side only, or it would cancel in the product.
    return Factors(
        merge([part.factors.a for part, _ in parts], half * scaled.sign()),
        merge([part.factors.b for part, _ in parts], half),
    )


def _energy(delta: torch.Tensor) -> float:
    return float(delta.double().square().sum())


class _Distance:
    """‖wanted − B·A‖ / ‖wanted‖, summed up over modules."""

    def __init__(self) -> None:
        self._lost = self._whole = 0.0
        self.modules: dict[str, float] = {}

    def add(self, module: str, wanted: torch.Tensor, product: torch.Tensor) -> None:
        lost, whole = _energy(wanted - product), _energy(wanted)
        self._lost += lost
        self._whole += whole
        self.modules[module] = (lost / whole) ** 0.5 if whole else 0.0

    @property
    def relative(self) -> float:
        """Over all modules together."""
        return (self._lost / self._whole) ** 0.5 if self._whole else 0.0
