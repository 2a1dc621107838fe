"""What the methods that put low-rank factors beside linears share: keys, checks, memory, lints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from adapterworks.builders.methods.linears import (
    ALL_LINEAR,
    Linear,
    adapted_linears,
    has_experts,
    select,
    takes_text_alone,
)
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Kept, Lint, linear_inputs
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.train_table import TrainTable

if TYPE_CHECKING:
    from torch import nn

Modules = str | tuple[str, ...]
# Ranks among which one of an equal number of parameters is looked for.
RANKS = range(1, 257)
_SERVED = (
    "the engine loads factors beside linears and nothing in place of a module, so what was learnt "
    "there could not be served"
)


class TargetKeys(MethodTable):
    """Which linears get an adapter."""

    target_modules: Modules = ALL_LINEAR
    """`all-linear`; names of modules or the ends of their paths (`["q_proj", "mlp.up_proj"]`); or a
    regular expression that whole paths match (`".*self_attn[.](q|v)_proj"`)."""
    exclude_modules: Modules = ()
    """Modules to exclude, named in the same way."""
    layers_to_transform: tuple[Annotated[int, Field(ge=0, le=4095)], ...] | None = None
    """Numbers of the layers, from 0, whose modules get an adapter; all if not given."""
    modules_to_save: tuple[str, ...] = ()
    """Always empty: modules that are trained whole beside the factors cannot be served."""


@check("method")
def adapts_something(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """`target_modules = []` would train nothing, and an expression that is none names nothing."""
    table: Any = manifest.method
    if not table.target_modules:
        yield Problem(
            ("method", "target_modules"),
            "no module would get an adapter",
            'name modules such as `["q_proj", "v_proj"]`, or write `"all-linear"`',
        )
    if table.layers_to_transform == ():
        yield Problem(
            ("method", "layers_to_transform"),
            "no layer would get an adapter",
            "name some, or leave it out",
        )
    for key in ("target_modules", "exclude_modules"):
        words = getattr(table, key)
        if words and isinstance(words, str) and (why := _no_expression(words)):
            yield Problem(
                ("method", key),
                f"`{words}` is no regular expression: {why}",
                'name modules in a list, such as `["q_proj", "v_proj"]`',
            )
    if table.modules_to_save:
        yield Problem(
            ("method", "modules_to_save"),
            f"`{table.modules_to_save[0]}` cannot be trained whole beside an adapter: {_SERVED}",
            'leave it out; embeddings and added tokens are learnt by `method.kind = "full"` alone',
        )


def _no_expression(text: str) -> str | None:
    if text != ALL_LINEAR and re.fullmatch(r"[\w.-]*", text):
        return "it has the letters of a name alone, and would have to be a module's whole path"
    try:
        re.compile(text)
    except re.error as error:
        return str(error)
    return None


def targeted(shape: BaseShape, table: TargetKeys) -> tuple[Linear, ...]:
    """The linears of a base that get an adapter.

    Raises:
        InvalidInput: the table names something that this base does not have.
    """
    return shape.targeted(table.target_modules, table.exclude_modules, table.layers_to_transform)


def peft_targets(table: TargetKeys, model: nn.Module) -> str | list[str]:
    """As PEFT's configurations take them.

    Names of modules are PEFT's own words. Everything else is spelled out, path by path: where the
    base has experts, or a tower for images whose modules have the same names, PEFT would adapt
    them, too, and not every method of PEFT knows of expressions, layers and exclusions.
    """
    words = table.target_modules
    plain = not table.exclude_modules and table.layers_to_transform is None
    plain = plain and takes_text_alone(model)
    if plain and not isinstance(words, str):
        return list(words)
    if plain and words == ALL_LINEAR:
        if not has_experts(model):
            return ALL_LINEAR
        return sorted({linear.leaf for linear in adapted_linears(model)})
    return [linear.name for linear in peft_linears(table, model)]


def peft_linears(table: TargetKeys, model: nn.Module) -> tuple[Linear, ...]:
    """The linears of a model that a table selects."""
    return select(
        adapted_linears(model),
        table.target_modules,
        table.exclude_modules,
        table.layers_to_transform,
    )


def low_rank_kept(shape: BaseShape, ranks: int, dropout: float) -> Kept:
    """The inputs of all linears, and A·x of each adapted one (dropout keeps its own input).

    Args:
        ranks: the sum of the ranks of all adapted linears.
    """
    return Kept(layer=linear_inputs(shape) + int(ranks / shape.layers * (1 + (dropout > 0))))


def low_rank_train_lints(train: TrainTable) -> list[Lint]:
    """Large batches."""
    if train.batch_size <= 128:
        return []
    return [
        Lint(
            "train.batch_size",
            f"LoRA falls behind full fine-tuning at large batches ({train.batch_size})",
            "LoRA Without Regret (Thinking Machines, 2025)",
        )
    ]
