"""LLaMA-Factory's stage `dpo`: which of our objectives each `pref_loss` is, and with which numbers.

Its losses are TRL's: `sigmoid`, `hinge` and `ipo` against the policy at the start (the base, as no
adapter is gone on with), `orpo` and `simpo` without a reference.
"""

from __future__ import annotations

from adapterworks.manifests.importing.conversion import Draft

STAGE = "dpo"
KEYS = (
    *("pref_beta", "pref_loss", "pref_ftx", "pref_bco_weight"),
    *("dpo_label_smoothing", "simpo_gamma", "ld_alpha"),
)
_KINDS = {"sigmoid": "dpo", "hinge": "dpo", "ipo": "dpo", "orpo": "orpo", "simpo": "simpo"}


def put_objective(draft: Draft) -> None:
    """`[objective]` of a training on pairs."""
    loss = str(draft.get("pref_loss", "sigmoid"))
    kind = _KINDS.get(loss)
    if kind is None:
        draft.refuse("pref_loss", f"the loss `{loss}` is not there: {', '.join(_KINDS)} are")
        return
    draft.note("stage", "mapped", "objective.kind")
    draft.put("objective.kind", kind)
    draft.note("pref_loss", "mapped", "objective.kind")
    if kind == "dpo":
        draft.map("pref_loss", "objective.loss", loss)
    draft.map("pref_beta", "objective.beta", draft.number("pref_beta", 0.1))
    if kind == "simpo":
        draft.map("simpo_gamma", "objective.gamma", draft.number("simpo_gamma", 0.5))
    elif draft.get("simpo_gamma") is not None:
        draft.note("simpo_gamma", "no effect", why=f"the loss `{loss}` has no margin")
    _weigh(draft, kind)
    _smooth(draft, loss)
    for key in ("pref_bco_weight", "ld_alpha"):
        value = draft.number(key)
        if value is not None and value != (1.0 if key == "ld_alpha" else 0.0):
            draft.refuse(key, "this part of the loss is not there")


def _weigh(draft: Draft, kind: str) -> None:
    """The chosen answer's own loss, which `orpo` has anyway and `simpo` has not here."""
    weight = draft.number("pref_ftx", 0.0) or 0.0
    if kind == "dpo":
        draft.map("pref_ftx", "objective.sft_weight", weight)
    elif weight:
        draft.refuse("pref_ftx", f"`{kind}` has no weight of the chosen answer's own loss")


def _smooth(draft: Draft, loss: str) -> None:
    share = draft.number("dpo_label_smoothing", 0.0) or 0.0
    if loss == "sigmoid":
        draft.map("dpo_label_smoothing", "objective.label_smoothing", share)
    elif share:
        draft.refuse("dpo_label_smoothing", "it is of the loss `sigmoid` alone")
