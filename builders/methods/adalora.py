"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): P·diag(λ)·Q, pruned where it matters least.

Invariant: a checkpoint counts as "best" only once the rank budget is final, so what is published
has the declared average rank; the importance averages are saved and restored, so a resumed training
prunes what an uninterrupted one would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import (
    Default,
    Lint,
    ServableForm,
    Technique,
    engine_rank,
)
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import AdaloraMethod, ServeTable

if TYPE_CHECKING:
    import torch
    from torch import nn

_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def schedule(table: AdaloraMethod, steps: int) -> tuple[int, int, int]:
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


class Adalora(Technique[AdaloraMethod]):
    """Adaptive budget allocation over singular triplets."""

    kind = "adalora"
    title = "Adaptive low-rank adaptation"
    source = "Zhang et al. 2023, arXiv:2303.10512"
    form = "lora"
    learning_rate = Default(1e-3, "Zhang et al. 2023, appendix: 5e-4 to 2e-3")

    def trainable(self, shape: BaseShape, table: AdaloraMethod) -> int:
        rank = table.initial_rank
        return sum(
            rank * (linear.in_features + linear.out_features + 1)
            for linear in shape.targeted(table.target_modules)
        )

    def servable(self, shape: BaseShape, table: AdaloraMethod, serve: ServeTable) -> ServableForm:
        return ServableForm(
            "lora",
            "exact",
            "diagonal folded into B, pruned ranks dropped",
            engine_rank(table.initial_rank),
        )

    def lints(self, shape: BaseShape, table: AdaloraMethod) -> list[Lint]:
        if table.initial_rank <= table.rank:
            return [
                Lint(
                    "method.initial_rank",
                    f"initial rank {table.initial_rank} leaves nothing to prune to {table.rank}",
                    "Zhang et al. 2023 start at 1.5× the target rank",
                )
            ]
        return []

    def best_from(self, table: AdaloraMethod, steps: int) -> int:
        return steps - schedule(table, steps)[1]

    def attach(self, model: nn.Module, table: AdaloraMethod, steps: int) -> nn.Module:
        from peft import AdaLoraConfig, get_peft_model

        tinit, tfinal, interval = schedule(table, steps)
        targets = table.target_modules
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
                target_modules=targets if isinstance(targets, str) else list(targets),
                task_type="CAUSAL_LM",
            ),
        )
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
        _peft(model).base_model.update_and_allocate(step)

    def before_save(self, model: nn.Module) -> None:
        """Write whole factors: pruned triplets are zeros then, and no loader has to resize modules
        by a pattern (PEFT warns of its own rank patterns, and of modules without any rank left)."""
        _peft(model).peft_config["default"].rank_pattern = None

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
        allocator = _peft(model).base_model.rankallocator
        for name, tensor in tensors.items():
            kind, _, parameter = name.partition(".")
            getattr(allocator, kind)[parameter] = tensor
        _peft(model).peft_config["default"].rank_pattern = values["rank_pattern"]


def _peft(model: nn.Module) -> Any:
    """The PEFT model inside what `accelerate` may have wrapped."""
    return getattr(model, "module", model)
