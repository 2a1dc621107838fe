"""TRL's own ORPO and SimPO (CPO) losses of a batch: `get_batch_loss_metrics`, unrepeated, with a
model that gives the logits.

TRL's fine-tuning term of ORPO covers the whole chosen sequence and is a mean over the batch's
tokens; ours is of the answer, a mean a pair. Both are one number where a sequence is its answer
behind a single token and all chosen answers are as long as each other.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from tests.builders.objectives.trl_parts import part

_BEGIN = 0  # the one token before every answer


def loss(
    kind: str, logits: torch.Tensor, chosen: torch.Tensor, rejected: list[torch.Tensor], **keys: Any
) -> torch.Tensor:
    """TRL's loss, a mean over pairs.

    Args:
        kind: `orpo` or `simpo`.
        logits: [2·pairs, 1 + longest, vocabulary], chosen answers first; the last place says
            nothing.
        chosen: [pairs, tokens] ids.
        rejected: ids of each, at most as many.
    """
    family = "orpo" if kind == "orpo" else "cpo"
    trainer_of_trl = part(f"experimental.{family}.{family}_trainer", f"{family.upper()}Trainer")
    own: Any = SimpleNamespace(
        accelerator=SimpleNamespace(
            device=torch.device("cpu"), gather_for_metrics=lambda tensor: tensor
        ),
        is_encoder_decoder=False,
        aux_loss_enabled=False,
        padding_value=0,
        pad_token_id=0,
        concatenated_inputs=trainer_of_trl.concatenated_inputs,
        get_batch_logps=trainer_of_trl.get_batch_logps,
        loss_type="simpo",
        cpo_alpha=0.0,
        label_smoothing=0.0,
        alpha=0.0,
        **keys,
    )
    for name in ("concatenated_forward", "odds_ratio_loss", "cpo_loss"):
        if hasattr(trainer_of_trl, name):
            setattr(own, name, getattr(trainer_of_trl, name).__get__(own))
    batch = {**_padded("chosen", [*chosen]), **_padded("rejected", rejected)}
    model = lambda *_, **__: SimpleNamespace(logits=logits)  # noqa: E731
    found: torch.Tensor = trainer_of_trl.get_batch_loss_metrics(own, model, batch)[0]
    return found


def _padded(name: str, answers: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    longest = 1 + max(len(answer) for answer in answers)
    ids = torch.zeros(len(answers), longest, dtype=torch.long)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for row, answer in enumerate(answers):
        ids[row, 0], ids[row, 1 : 1 + len(answer)] = _BEGIN, answer
        labels[row, 1 : 1 + len(answer)] = answer
        mask[row, : 1 + len(answer)] = 1
    return {f"{name}_input_ids": ids, f"{name}_labels": labels, f"{name}_attention_mask": mask}
