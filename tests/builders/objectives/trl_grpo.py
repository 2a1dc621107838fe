"""TRL's own GRPO and RLOO losses on given log-probabilities: their `_compute_loss`, unrepeated."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch

from tests.builders.objectives.trl_parts import part


def _padded(sequences: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)


def _trainer(kind: str, loss: str, level: str, **settings: Any) -> Any:
    """What the losses read of a trainer; its model gives the log-probabilities themselves."""
    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        gather=lambda tensor: tensor,
        reduce=lambda tensor, reduction: tensor,
    )
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda model, *_, **__: (
            model,
            torch.zeros_like(model),
            None,
        ),
        model=SimpleNamespace(training=True),
        accelerator=accelerator,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        loss_type=loss,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        _metrics={"train": defaultdict(list)},
        **settings,
    )


def loss(
    policy: list[torch.Tensor],
    old: list[torch.Tensor],
    advantages: torch.Tensor,
    kind: str,
    *,
    reference: list[torch.Tensor],
    beta: float = 0.0,
    low: float = 0.2,
    high: float = 0.2,
    most: int = 9,
) -> torch.Tensor:
    """TRL's loss of a whole step.

    Args:
        policy: log-probabilities of each answer's tokens.
        old: the same when it was sampled.
        advantages: [answers].
        kind: `dapo`, `grpo`, `dr_grpo`, `gspo` or `rloo`.
    """
    mask = _padded([torch.ones(len(tokens), dtype=torch.long) for tokens in policy])
    inputs: dict[str, Any] = {
        "prompt_ids": torch.zeros(len(policy), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(policy), 1, dtype=torch.long),
        "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": _padded(old),
        "ref_per_token_logps": _padded(reference),
        "num_items_in_batch": mask.sum(),
    }
    level = "sequence" if kind == "gspo" else "token"
    settings = {
        "beta": beta, "epsilon_low": low, "epsilon_high": high, "max_completion_length": most,
    }  # fmt: skip
    if kind == "rloo":
        trainer_of_trl = part("trainer.rloo_trainer", "RLOOTrainer")
        inputs["old_logps"] = torch.stack([tokens.sum() for tokens in old])
        trainer = _trainer(kind, kind, level, **settings)
        return trainer_of_trl._compute_loss(trainer, _padded(policy), inputs)
    trainer_of_trl = part("trainer.grpo_trainer", "GRPOTrainer")
    trainer = _trainer(kind, "grpo" if kind == "gspo" else kind, level, **settings)
    return trainer_of_trl._compute_loss(trainer, _padded(policy), inputs)
