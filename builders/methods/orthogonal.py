"""O-LoRA (Wang et al. 2023, arXiv:2310.14152): what is learnt next keeps clear of what was learnt.

The release that is continued keeps its factors A₀, B₀ as they are; beside them new ranks A, B learn
the new rows, with B zero at first, so that an untrained adapter is the release. What was learnt is
taken for the span of A₀'s rows, and a penalty keeps the new rows out of it, over all adapted
linears:

    λ · Σ ‖A₀ Aᵀ‖²_F                                                  (their equations 7 and 8)

The adapter that comes of it is a LoRA of all ranks: [A₀; A] and [B₀, B].

Invariant: the ranks that were there do not move: their gradients are zero, so whatever multiplies
a gradient number by number leaves them (what does not, weight decay among it, is refused).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.factors import module_scale
from adapterworks.builders.methods.inits import INITS
from adapterworks.builders.methods.lora_keys import LoraKeys, as_lora
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.manifests.checking import Problem, check, is_written
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import Manifest

if TYPE_CHECKING:
    import torch
    from torch import nn

_CONFIG = "adapter_config.json"
_OF = {"A": 0, "B": 1}  # the dimension of the ranks in each factor


@check("method", "start", "train")
def has_something_to_keep(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """`keep_ranks` is of a release that is continued, and leaves ranks to learn with."""
    table, train = as_lora(manifest.method), manifest.train
    if table is None or table.keep_ranks is None:
        if table is not None and is_written(written, "method", "orthogonality"):
            yield Problem(
                ("method", "orthogonality"),
                "no ranks stay, so there is nothing to be orthogonal to",
                "set `method.keep_ranks`, or remove it",
            )
        return
    key = ("method", "keep_ranks")
    if manifest.start is None:
        yield Problem(
            key,
            "the training continues no release, so there is nothing to be orthogonal to",
            'name the release: [start] from = "NAME@N"',
        )
    if table.keep_ranks >= table.rank:
        yield Problem(
            key,
            f"{table.keep_ranks} of {table.rank} ranks stay as they are, and none is left to learn",
            f"set `method.rank` to {2 * table.keep_ranks}: as many new ones",
        )
    if table.rank_pattern or table.alpha_pattern:
        yield Problem(
            key,
            "modules have ranks or scales of their own",
            "leave `rank_pattern` and `alpha_pattern` out",
        )
    if INITS[table.init].part_of_base or INITS[table.init].needs_rows:
        yield Problem(
            key, f"`{table.init}` would set the ranks that stay", 'use `init = "kaiming"`'
        )
    if train.weight_decay:
        yield Problem(
            ("train", "weight_decay"),
            "weight decay would shrink the ranks that stay",
            "leave it out",
        )
    if train.optimizer in OPTIMIZERS and not OPTIMIZERS[train.optimizer].by_number:
        yield Problem(
            ("train", "optimizer"),
            f"`{train.optimizer}` looks at more than a number, and could move the ranks that stay",
            'use `optimizer = "adamw"`',
        )
    if train.sharding != "none":
        yield Problem(
            ("train", "sharding"),
            "the ranks that stay are told from the others in whole factors",
            "leave it out",
        )


@check("method")
def keeps_no_ranks(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """For what is LoRA in a way in which ranks do not add up."""
    table = as_lora(manifest.method)
    if table is not None and table.keep_ranks is not None:
        yield Problem(
            ("method", "keep_ranks"),
            f"`{manifest.method.kind}` is more than its ranks, and they could not stay as they are",
            'use `kind = "lora"`',
        )


def begun_with(table: LoraKeys) -> LoraKeys:
    """The table that the continued release must have had."""
    if table.keep_ranks is None:
        return table
    return table.model_copy(update={"rank": table.keep_ranks, "keep_ranks": None})


def grown(
    given: Mapping[str, torch.Tensor],
    new: Mapping[str, torch.Tensor],
    table: LoraKeys,
    folder: Path,
) -> dict[str, torch.Tensor]:
    """A release's factors in place of the first ranks of new ones, whose B is zero.

    Args:
        given: the release's tensors, by name.
        new: those of the new adapter.
        folder: the release's `adapter/`, whose scale goes into B₀.

    Raises:
        Refused: a module has another rank than `keep_ranks` says.
    """
    before = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    alpha = table.alpha if table.alpha is not None else 2 * table.rank
    scale = alpha / (table.rank**0.5 if table.rslora else table.rank)
    made = {name: tensor.detach().clone() for name, tensor in new.items()}
    for name, tensor in given.items():
        module, _, part = name.partition(".lora_")
        at = _OF.get(part[:1])
        if name not in made or at is None or tensor.shape[at] != table.keep_ranks:
            raise Refused(
                f"`{name}` of the release that is continued does not have {table.keep_ranks} ranks",
                hint="set `method.keep_ranks` to the rank that it was trained with",
            )
        if part.startswith("A"):
            made[name][: table.keep_ranks] = tensor.to(made[name])
        else:
            then = module_scale(before, module.removeprefix("base_model.model."))
            made[name].zero_()
            made[name][:, : table.keep_ranks] = (tensor.float() * (then / scale)).to(made[name])
    return made


def hold(model: nn.Module, table: LoraKeys) -> None:
    """Let no gradient reach the ranks that stay, and remember what the penalty needs."""
    if table.keep_ranks is None:
        return
    kept = table.keep_ranks
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ".lora_" in name:
            parameter.register_hook(_masked(kept, _OF[name.partition(".lora_")[2][0]]))
    whole: Any = model
    whole.orthogonal = (kept, table.orthogonality)


def penalty(model: nn.Module) -> torch.Tensor | None:
    """λ · Σ ‖A₀ Aᵀ‖²_F over the adapted linears; None where no ranks stay."""
    kept, weight = getattr(model, "orthogonal", (0, 0.0))
    if not kept:
        return None
    sums = [
        (parameter[:kept].detach() @ parameter[kept:].T).pow(2).sum()
        for name, parameter in model.named_parameters()
        if ".lora_A." in name
    ]
    import torch

    found: torch.Tensor = weight * torch.stack(sums).sum()
    return found


def _masked(kept: int, dimension: int) -> Any:
    def masked(gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        gradient.narrow(dimension, 0, kept).zero_()
        return gradient

    return masked
