"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): P·diag(λ)·Q, pruned where it matters least.

Invariant: a checkpoint counts as "best" only once the rank budget is final, so what is published
has the declared average rank; the importance averages are saved and restored, so a resumed training
prunes what an uninterrupted one would.

It is served as LoRA, exactly: s·B·diag(E)·A with B′ = s·B and A′ = diag(E)·A. PEFT's own scale is
kept: α/(initial_rank + 1e-5), whatever ranks were pruned. Triplets whose singular value is zero are
dropped: they add nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import (
    Factors,
    leaves,
    paths_of,
    read_adapter,
    write_lora,
)
from adapterworks.builders.methods.low_rank import (
    RANKS,
    TargetKeys,
    adapts_something,
    low_rank_kept,
    low_rank_train_lints,
    peft_targets,
    targeted,
)
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
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.models import Manifest, ServeTable
from adapterworks.manifests.train_table import TrainTable
from adapterworks.manifests.values import Dropout, PositiveInt, Rank, Share
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch
    from torch import nn

_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
# It starts at 1.5 times the rank it ends with (Zhang et al. 2023, §4).
_INITIAL = 1.5


class AdaloraTable(TargetKeys):
    """AdaLoRA (Zhang et al. 2023): starts at `initial_rank`, prunes to `rank` on average."""

    kind: Literal["adalora"]
    """The method."""
    rank: Rank = 8
    """Average rank at the end."""
    initial_rank: Rank = 12
    """Rank at the start, above `rank`."""
    alpha: PositiveInt | None = None
    """Scale α; 2·rank if not given."""
    dropout: Dropout = 0.0
    """Dropout on the adapter's input while training."""
    warmup_share: Share = 0.2
    """Share of the steps before pruning starts."""
    final_share: Share = 0.3
    """Share of the steps after pruning has ended."""
    interval: PositiveInt = 5
    """Steps between two prunings."""
    orthogonality: Annotated[float, Field(ge=0.0)] = 0.5
    """Weight of the orthogonality penalty."""


@check("method")
def can_prune(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """There must be ranks to prune, and steps to do it in."""
    table = manifest.method
    assert isinstance(table, AdaloraTable)
    if table.rank >= table.initial_rank:
        yield Problem(
            ("method", "rank"),
            f"AdaLoRA prunes from `initial_rank` {table.initial_rank} down to `rank` "
            f"{table.rank}, which is not smaller",
            f"set `initial_rank` above {table.rank}: {math.ceil(_INITIAL * table.rank)} is usual, "
            "1.5 times as much (Zhang et al. 2023)",
        )
    if table.warmup_share + table.final_share >= 1.0:
        yield Problem(
            ("method", "final_share"),
            "`warmup_share` and `final_share` leave no steps for pruning",
            "let their sum stay below 1",
        )


def schedule(table: AdaloraTable, steps: int) -> tuple[int, int, int]:
    """(tinit, tfinal, deltaT) for a training of `steps` optimizer steps.

    Raises:
        InvalidInput: too few steps for a warm-up, a pruning and a final phase.
    """
    tinit, tfinal = int(table.warmup_share * steps), max(1, round(table.final_share * steps))
    if steps - tinit - tfinal < 1:
        raise InvalidInput(
            f"AdaLoRA has no step left to prune in: {steps} steps, {tinit} of warm-up, "
            f"{tfinal} final",
            hint="train longer, or lower `method.warmup_share` and `method.final_share`",
        )
    return tinit, tfinal, min(table.interval, steps - tinit - tfinal)


class Adalora(Technique[AdaloraTable]):
    """Adaptive budget allocation over singular triplets."""

    table = AdaloraTable
    title = "Adaptive low-rank adaptation"
    source = "Zhang et al. 2023, arXiv:2303.10512"
    form = LORA
    continues = False  # its ranks are decided: the schedule has nothing left to prune
    learning_rate = Default(1e-3, "Zhang et al. 2023, appendix: 5e-4 to 2e-3")
    checks = (can_prune, adapts_something)

    def trainable(self, shape: BaseShape, table: AdaloraTable) -> int:
        rank = table.initial_rank
        return sum(
            rank * (linear.in_features + linear.out_features + 1)
            for linear in targeted(shape, table)
        )

    def servable(self, shape: BaseShape, table: AdaloraTable, serve: ServeTable) -> ServableForm:
        return ServableForm(
            LORA,
            "exact",
            "diagonal folded into B, pruned ranks dropped",
            engine_rank(table.initial_rank),
        )

    def train_lints(self, train: TrainTable) -> list[Lint]:
        return low_rank_train_lints(train)

    def kept(self, shape: BaseShape, table: AdaloraTable, width: int) -> Kept:
        ranks = table.initial_rank * len(targeted(shape, table))
        return low_rank_kept(shape, ranks, table.dropout)

    def sizes(self, table: AdaloraTable) -> Iterable[AdaloraTable]:
        """Every rank to start from that leaves something to prune."""
        return [
            table.model_copy(update={"rank": max(1, round(rank / _INITIAL)), "initial_rank": rank})
            for rank in RANKS
            if rank > 1
        ]

    def best_from(self, table: AdaloraTable, steps: int) -> int:
        return steps - schedule(table, steps)[1]

    def attach(self, model: nn.Module, table: AdaloraTable, steps: int) -> nn.Module:
        from peft import AdaLoraConfig, get_peft_model

        tinit, tfinal, interval = schedule(table, steps)
        adapted: nn.Module = get_peft_model(
            model,
            AdaLoraConfig(
                init_r=table.initial_rank,
                target_r=table.rank,
                tinit=tinit,
                tfinal=tfinal,
                deltaT=interval,
                total_step=steps,
                lora_alpha=table.alpha if table.alpha is not None else 2 * table.rank,
                lora_dropout=table.dropout,
                orth_reg_weight=table.orthogonality,
                target_modules=peft_targets(table, model),
                task_type="CAUSAL_LM",
            ),
        )
        for name, parameter in adapted.named_parameters():
            if "ranknum" in name:  # a count; PEFT makes a parameter that it moves a trained one
                parameter.requires_grad_(False)
        return adapted

    def extra_loss(self, model: nn.Module) -> torch.Tensor | None:
        """PEFT's orthogonality term: mean ‖PᵀP − I‖_F over all P and Q (its own needs `labels`)."""
        import torch

        weight = _peft(model).peft_config["default"].orth_reg_weight
        norms = []
        for name, parameter in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                gram = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
                norms.append(torch.linalg.norm(gram - torch.eye(len(gram), device=gram.device)))
        return weight * torch.stack(norms).mean() if weight and norms else None

    def before_zero_grad(self, model: nn.Module, step: int) -> None:
        """Importance from the step's gradients, and ranks as the schedule has them.

        A step without gradients tells nothing of importance; what is due at it is pruned by what is
        known, and where nothing is yet, at the first step after it that learns.
        """
        adapted, configuration = _peft(model).base_model, _peft(model).peft_config["default"]
        allocator, final = adapted.rankallocator, configuration.total_step - configuration.tfinal
        learnt = any(
            parameter.grad is not None
            for name, parameter in adapted.model.named_parameters()
            if "lora_" in name
        )
        owed = step > final and configuration.rank_pattern is None
        if learnt and not owed:
            adapted.update_and_allocate(step)
            return
        if learnt:
            allocator.update_ipt(adapted.model)
        due = owed or step == final or (step < final and allocator.budget_schedule(step)[1])
        if due and allocator.ipt:
            budget = allocator.budget_schedule(min(step, final))[0]
            configuration.rank_pattern = allocator.mask_to_budget(adapted.model, budget)
        if step >= final and configuration.rank_pattern is not None:
            allocator.reset_ipt()

    def save(self, model: nn.Module, folder: Path, base: str) -> None:
        """Write whole factors: pruned triplets are zeros then, and no loader has to resize modules
        by a pattern (PEFT warns of its own rank patterns, and of modules without any rank left).
        The training that goes on prunes by it."""
        configuration = _peft(model).peft_config["default"]
        pattern, configuration.rank_pattern = configuration.rank_pattern, None
        try:
            super().save(model, folder, base)
        finally:
            configuration.rank_pattern = pattern

    def state(self, model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        allocator = _peft(model).base_model.rankallocator
        tensors = {
            f"{kind}.{name}": tensor
            for kind in _AVERAGES
            for name, tensor in getattr(allocator, kind).items()
        }
        return tensors, {"rank_pattern": _peft(model).peft_config["default"].rank_pattern}

    def restore(
        self, model: nn.Module, tensors: dict[str, torch.Tensor], values: dict[str, Any]
    ) -> None:
        adapted = _peft(model).base_model
        for name, tensor in tensors.items():
            kind, _, parameter = name.partition(".")
            # Beside the gradients that go into them.
            device = adapted.model.get_parameter(parameter).device
            getattr(adapted.rankallocator, kind)[parameter] = tensor.to(device)
        _peft(model).peft_config["default"].rank_pattern = values["rank_pattern"]

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Fold the diagonal and drop pruned ranks.

        Raises:
            Refused: every rank was pruned, and the training has ended: it begins with zeros.
        """
        tensors, configuration = read_adapter(source.adapter)
        initial = float(str(configuration["init_r"]))
        scale = float(str(configuration["lora_alpha"])) / (initial + 1e-5)
        factors = {}
        for module in sorted({name.rpartition(".lora_")[0] for name in tensors}):
            diagonal = tensors[f"{module}.lora_E"].float()
            kept = (diagonal != 0).squeeze(-1)
            a = tensors[f"{module}.lora_A"].float()[kept] * diagonal[kept]
            b = tensors[f"{module}.lora_B"].float()[:, kept] * scale
            factors[module] = Factors(a, b)  # of rank 0 where all was pruned: written as zeros
        if not source.goes_on and not any(entry.rank for entry in factors.values()):
            raise Refused(
                "AdaLoRA pruned every rank: the adapter changes nothing",
                hint="train longer, or raise `train.learning_rate` or `method.rank`",
            )
        rank = write_lora(folder, factors, source.manifest.base.model, paths_of(configuration))
        return Conversion(
            Servable(form=LORA, origin="exact", rank=rank, target_modules=tuple(leaves(factors)))
        )


def _peft(model: nn.Module) -> Any:
    """The PEFT model inside what `accelerate` may have wrapped."""
    return getattr(model, "module", model)


ADALORA = Adalora()
