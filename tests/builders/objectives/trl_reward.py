"""TRL's own losses of rewards and of judged answers, on given numbers: their `compute_loss`.

Nothing of the formulas is repeated here; only what surrounds them is put in its place.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch

_GATHERED: Any = SimpleNamespace(
    device=torch.device("cpu"),
    gather=lambda tensor: tensor,
    gather_for_metrics=lambda tensor: tensor,
)


def reward(
    better: torch.Tensor, worse: torch.Tensor, margins: torch.Tensor | None, center: float
) -> torch.Tensor:
    """TRL's loss of a reward model, a mean over pairs.

    Args:
        better, worse: [pairs] rewards of the chosen and the rejected answers.
        center: TRL's `center_rewards_coefficient`.
    """
    from trl.trainer.reward_trainer import RewardTrainer

    logits = torch.cat((better, worse))[:, None]

    class Model:
        training = True

        def __call__(self, **_: Any) -> Any:
            return SimpleNamespace(logits=logits)

    trainer: Any = SimpleNamespace(
        model=Model(),
        accelerator=_GATHERED,
        args=SimpleNamespace(center_rewards_coefficient=center or None),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {"attention_mask": torch.ones(len(logits), 2, dtype=torch.long)}
    if margins is not None:
        inputs["margin"] = margins
    return RewardTrainer.compute_loss(trainer, trainer.model, inputs)


def kto(
    policy: list[torch.Tensor],
    reference: list[torch.Tensor],
    good: list[bool],
    others: list[torch.Tensor],
    reference_others: list[torch.Tensor],
    *,
    beta: float,
    weights: tuple[float, float],
) -> torch.Tensor:
    """TRL's KTO loss, a mean over answers.

    Args:
        policy: log-probabilities of each answer's tokens.
        reference: the same under the reference.
        others, reference_others: the same of the answers to other prompts.
        weights: of good and of bad answers.
    """
    from trl.trainer.kto_trainer import KTOTrainer

    longest = max(len(tokens) for tokens in policy)
    logprobs = torch.stack(
        [torch.cat((tokens, tokens.new_zeros(longest - len(tokens)))) for tokens in policy]
    )
    mask = torch.zeros(len(policy), longest + 1, dtype=torch.long)
    for row, tokens in enumerate(policy):
        mask[row, 1 : 1 + len(tokens)] = 1
    outputs = SimpleNamespace(
        log_probs=logprobs,
        entropy=torch.zeros_like(logprobs),
        mean_logits=torch.zeros_like(logprobs),
    )
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=_GATHERED,
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        calculate_KL=True,
        loss_type="kto",
        beta=beta,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
        _compute_kl_logps=lambda model, batch: torch.stack([one.sum() for one in others]),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": mask,
        "completion_mask": mask,
        "label": torch.tensor(good),
        "ref_logps": torch.stack([one.sum() for one in reference]),
        "ref_KL_logps": torch.stack([one.sum() for one in reference_others]),
    }
    return KTOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
