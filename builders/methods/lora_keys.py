"""LoRA's keys, for all that is LoRA in another way: what they mean, what is refused or unusual."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from adapterworks.builders.methods.factors import by_pattern, leaves
from adapterworks.builders.methods.inits import INITS, InitName
from adapterworks.builders.methods.linears import ALL_LINEAR, Linear
from adapterworks.builders.methods.low_rank import TargetKeys, targeted
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Lint
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE, START, ReferenceTable
from adapterworks.manifests.values import Dropout, PositiveFloat, PositiveInt, Rank

WITHOUT_REGRET = "LoRA Without Regret (Thinking Machines, 2025)"


class LoraKeys(TargetKeys):
    """The keys of LoRA and of what is LoRA in another way: quantized, or weight-decomposed.

    `rslora` scales by α/√r (Kalajdzievski 2023).
    """

    rank: Rank = 16
    """Rank r of the weight delta."""
    alpha: PositiveInt | None = None
    """Scale α; 2·rank if not given."""
    dropout: Dropout = 0.0
    """Dropout on the adapter's input while training."""
    rslora: bool = False
    """Scale by α/√r instead of α/r."""
    rank_pattern: dict[str, Rank] = Field(default_factory=dict)
    """Other ranks of some modules, by name, the end of a path or an expression for it
    (`{"down_proj" = 32}`); the first that fits counts."""
    alpha_pattern: dict[str, PositiveInt] = Field(default_factory=dict)
    """A different α for some modules, named in the same way."""
    init: InitName = "kaiming"
    """What the factors start from: `kaiming` or `gaussian` (A random, B zero), `orthogonal`;
    `pissa` and `olora` (LoRA: the base's largest directions), `eva` (not DoRA: directions of the
    rows' activations), `loftq` (QLoRA: what quantization took away)."""
    learning_rate_ratio: PositiveFloat | None = None
    """LoRA+: B's learning rate over A's; the same if not given."""
    keep_ranks: Rank | None = None
    """O-LoRA (LoRA and QLoRA): the rank of the release that `[start]` continues. It stays as it is
    in the first ranks; the others learn beside it, kept orthogonal to it."""
    orthogonality: PositiveFloat = 0.5
    """O-LoRA: weight λ of the penalty λ·Σ‖A₀·Aᵀ‖²; only with `keep_ranks`."""


def lora_alpha(table: LoraKeys) -> int:
    """α, by default 2·r."""
    return table.alpha if table.alpha is not None else 2 * table.rank


def lora_lints(shape: BaseShape, table: LoraKeys) -> list[Lint]:
    """Unusual ranks, scales and targets."""
    lints = []
    alpha = lora_alpha(table)
    if not table.rslora and not 0.5 <= alpha / table.rank <= 4:
        lints.append(
            Lint(
                "method.alpha",
                f"alpha/rank is {alpha / table.rank:g}; 1 to 2 is usual",
                "Hu et al. 2021 fix α and tune the learning rate; α = 2r is the common default",
            )
        )
    if table.rslora and alpha > 4 * table.rank**0.5 * 2:
        lints.append(
            Lint(
                "method.alpha",
                f"with rslora the scale is alpha/√rank = {alpha / table.rank**0.5:g}",
                "Kalajdzievski 2023, arXiv:2312.03732: keep the scale near that of rank 8",
            )
        )
    chosen = targeted(shape, table)
    fewer = table.target_modules != ALL_LINEAR or bool(table.exclude_modules)
    if fewer and not any("mlp" in linear.name or "ffn" in linear.name for linear in chosen):
        lints.append(
            Lint(
                "method.target_modules",
                "no MLP layer is adapted; attention alone learns less at equal parameters",
                WITHOUT_REGRET,
            )
        )
    smallest = min(min(linear.in_features, linear.out_features) for linear in chosen)
    if table.rank > smallest // 2:
        lints.append(
            Lint(
                "method.rank",
                f"rank {table.rank} is more than half of the smallest adapted width {smallest}",
                "a product of rank ≥ width/2 has as many parameters as the matrix itself",
            )
        )
    ratio = table.learning_rate_ratio
    if ratio is not None and not 1 <= ratio <= 32:
        lints.append(
            Lint(
                "method.learning_rate_ratio",
                f"B learns {ratio:g} times as fast as A; 2 to 16 is usual",
                "Hayou et al. 2024, arXiv:2402.12354, §5: λ = 16 (2 to 8 for LLaMA)",
            )
        )
    return lints


@check("method", "start", "objective")
def starts_as_it_can(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """An init is for some of the methods, and no continued release has one."""
    from adapterworks.builders.methods import METHODS

    table = manifest.method
    assert isinstance(table, LoraKeys)
    technique: Any = METHODS[table.kind]
    key = ("method", "init")
    if table.init not in technique.inits:
        yield Problem(
            key,
            f"`{table.init}` is no init of `{table.kind}`",
            f"use one of {', '.join(f'`{name}`' for name in technique.inits)}",
        )
    elif manifest.start is not None and table.init != "kaiming":
        yield Problem(
            key,
            f"the adapter begins as the release that `[start]` names, and cannot as `{table.init}`",
            "leave one of them out",
        )
    elif INITS[table.init].part_of_base and _other_reference(manifest):
        yield Problem(
            key,
            f"`{table.init}` starts as a part of the base that is taken out of what it gives, and "
            "another release's factors would be read without it",
            'use `init = "kaiming"`, or compare with `base` or `start`',
        )


def _other_reference(manifest: Manifest) -> bool:
    """Whether the policy is held near another release."""
    objective = manifest.objective
    return isinstance(objective, ReferenceTable) and objective.reference not in (BASE, START)


@check("method")
def has_patterns(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Patterns are expressions."""
    table = manifest.method
    assert isinstance(table, LoraKeys)
    for key in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(table, key):
            try:
                re.compile(pattern)
            except re.error as error:
                yield Problem(
                    ("method", key, pattern),
                    f"`{pattern}` is no regular expression: {error}",
                    "name a module, such as `down_proj`",
                )


def rank_of(table: LoraKeys, module: str) -> int:
    """r of one module."""
    return int(by_pattern(table.rank_pattern, module, table.rank))


def highest_rank(table: LoraKeys) -> int:
    """The rank that an engine has to have room for."""
    return max(table.rank, *table.rank_pattern.values(), 1)


def require_used(patterns: Mapping[str, int], key: str, chosen: tuple[Linear, ...]) -> None:
    """Refuse a pattern that fits nothing: a name that was mistyped, for one."""
    for pattern in patterns:
        if not any(by_pattern({pattern: 1}, linear.name, 0) for linear in chosen):
            raise InvalidInput(
                f"`method.{key}` names `{pattern}`, which no adapted module of this base is called",
                hint=f"adapted are {', '.join(f'`{x}`' for x in leaves([c.name for c in chosen]))}",
            )


def as_lora(table: MethodTable) -> LoraKeys | None:
    """A table, if it has LoRA's keys."""
    return table if isinstance(table, LoraKeys) else None
