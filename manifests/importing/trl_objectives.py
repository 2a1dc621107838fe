"""TRL's trainers and their losses: which of our objectives each is, and with which numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapterworks.manifests.importing.conversion import Draft

# Losses of `dpo` that are the same here, by TRL's names.
_PAIRS = ("sigmoid", "hinge", "ipo", "robust")
_CHOSEN = "sft"  # the chosen answer's own loss, which TRL counts among them


def _sft(draft: Draft) -> None:
    loss = draft.get("loss_type", "nll")
    if loss not in ("nll", "chunked_nll"):
        draft.refuse("loss_type", f"the loss `{loss}` is not there: nll is")


def _dpo(draft: Draft) -> None:
    losses = draft.get("loss_type", ["sigmoid"])
    losses = [losses] if isinstance(losses, str) else losses
    weights = draft.get("loss_weights") or [1.0] * len(losses)
    if not _are_weighted(losses, weights):
        draft.refuse("loss_weights", "there is not one number for each loss")
        return
    weighed = dict(zip(losses, weights, strict=True))
    chosen = weighed.pop(_CHOSEN, 0.0)
    if len(weighed) != 1 or next(iter(weighed)) not in _PAIRS:
        known = ", ".join(_PAIRS)
        draft.refuse("loss_type", f"one of {known} is there, with or without `{_CHOSEN}`")
        return
    loss, weight = next(iter(weighed.items()))
    if weight <= 0:
        draft.refuse("loss_weights", f"the loss `{loss}` counts nothing")
        return
    draft.map("loss_type", "objective.loss", loss)
    if chosen:
        # The pairs' loss has the weight 1 here, so the whole is scaled, which AdamW does not see.
        draft.map("loss_weights", "objective.sft_weight", chosen / weight)
    draft.map("beta", "objective.beta", draft.number("beta", 0.1))
    smoothing = draft.number("label_smoothing", 0.0)
    if smoothing and loss not in ("sigmoid", "robust"):
        draft.refuse("label_smoothing", f"the loss `{loss}` takes no pair to be the wrong way")
    elif loss in ("sigmoid", "robust"):
        draft.map("label_smoothing", "objective.label_smoothing", smoothing)


def _are_weighted(losses: Any, weights: Any) -> bool:
    return (
        isinstance(losses, list)
        and isinstance(weights, list)
        and len(losses) == len(weights) == len({str(loss) for loss in losses})
        and all(isinstance(weight, int | float) for weight in weights)
    )


def _kto(draft: Draft) -> None:
    loss = draft.get("loss_type", "kto")
    if loss != "kto":
        draft.refuse("loss_type", f"the loss `{loss}` is not there: kto is")
        return
    draft.map("beta", "objective.beta", draft.number("beta", 0.1))
    draft.map("desirable_weight", "objective.good_weight", draft.number("desirable_weight", 1.0))
    draft.map("undesirable_weight", "objective.bad_weight",
              draft.number("undesirable_weight", 1.0))  # fmt: skip


def _reward(draft: Draft) -> None:
    key = "center_rewards_coefficient"
    draft.map(key, "objective.center", draft.number(key, 0.0))


@dataclass(frozen=True, slots=True)
class Trainer:
    """A trainer, which is the command of `trl` of that name.

    Attributes:
        name: it is our objective's as well.
        rate: its learning rate.
        rows: the format of rows that are not there to be looked at.
        put: what else `[objective]` has.
        compares: two policies are compared, so there is no dropout.
    """

    name: str
    rate: float
    rows: str
    put: Callable[[Draft], None]
    compares: bool = True


TRAINERS = (
    Trainer("sft", 2e-5, "messages", _sft, compares=False),
    Trainer("dpo", 1e-6, "preference", _dpo),
    Trainer("kto", 1e-6, "unpaired-preference", _kto),
    Trainer("reward", 1e-4, "preference", _reward),
)
