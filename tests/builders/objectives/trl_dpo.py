"""TRL's own DPO loss on given log-probabilities: its `_compute_loss`, with a model that says them.

Nothing of the formulas is repeated here; only what surrounds them (a trainer, an accelerator, a
model's other outputs) is put in its place.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch


def loss(
    policy: list[torch.Tensor],
    reference: list[torch.Tensor],
    kind: str,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """TRL's loss, a mean over pairs.

    Args:
        policy: log-probabilities of each answer's tokens, chosen and rejected in turn.
        reference: the same under the reference.
        kind: of TRL's `loss_type`.
    """
    from trl.trainer.dpo_trainer import DPOTrainer

    order = [*range(0, len(policy), 2), *range(1, len(policy), 2)]  # TRL has the chosen ones first
    longest = max(len(tokens) for tokens in policy)
    rows = [torch.cat((policy[i], policy[i].new_zeros(longest - len(policy[i])))) for i in order]
    mask = torch.zeros(len(rows), longest + 1, dtype=torch.long)
    for row, index in enumerate(order):
        mask[row, 1 : 1 + len(policy[index])] = 1
    logprobs = torch.stack(rows)
    outputs = SimpleNamespace(
        log_probs=logprobs,
        entropy=torch.zeros_like(logprobs),
        mean_logits=torch.zeros_like(logprobs),
        is_top1=torch.zeros_like(logprobs, dtype=torch.bool),
    )
    gathered: Any = SimpleNamespace(
        device=torch.device("cpu"),
        gather=lambda tensor: tensor,
        gather_for_metrics=lambda tensor: tensor,
    )
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=gathered,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        beta=beta,
        label_smoothing=label_smoothing,
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    half = len(order) // 2
    sums = torch.stack([reference[index].sum() for index in order])
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": mask,
        "completion_mask": mask,
        "ref_chosen_logps": sums[:half],
        "ref_rejected_logps": sums[half:],
    }
    return DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
