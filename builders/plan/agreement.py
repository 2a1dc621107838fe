"""How far sampler and trainer may be apart: the log-probabilities that both give a sampled token.

Invariant: pure. In float32 both compute the same to 1e-3 nats. In half precision a logit of the
usual size (16 to 64) is rounded to steps of 1/8 to 1/4 in bfloat16, so that the same weights, asked
in batches of another shape, differ by as much (docs/log/alignment.md has what was measured); what
is learnt is weighted by the ratio of the two (`importance_cap`), and the bound is for what is
wrong, not for what is rounded.
"""

from __future__ import annotations

from adapterworks.builders.plan.machine import Precision
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest

EXACT, ROUNDED = 1e-3, 0.5
# Less than this no half precision holds: a build that asks for it would end at its first step.
_HOPELESS = 1e-2


def computes_exactly(manifest: Manifest, precision: Precision, device: str) -> bool:
    """Whether both compute in float32: a trainer in half precision samples in it, and an engine of
    a build's own computes in bfloat16 on a GPU."""
    beside = getattr(manifest.objective, "engine", "huggingface") != "huggingface"
    return precision == "fp32" and not (beside and device == "cuda")


def allowed_mismatch(manifest: Manifest, precision: Precision, device: str) -> float:
    """`objective.max_mismatch`, or what the precision allows."""
    said: float | None = getattr(manifest.objective, "max_mismatch", None)
    if said is not None:
        return said
    return EXACT if computes_exactly(manifest, precision, device) else ROUNDED


def check_agreement(manifest: Manifest, precision: Precision, device: str) -> None:
    """Refuse a bound that half precision cannot hold.

    Raises:
        InvalidInput: the build would be refused at its first step.
    """
    said: float | None = getattr(manifest.objective, "max_mismatch", None)
    if said is None or said >= _HOPELESS or computes_exactly(manifest, precision, device):
        return
    who = "the trainer computes" if precision != "fp32" else "the engine computes on this GPU"
    what = precision if precision != "fp32" else "bf16"
    raise InvalidInput(
        f"`objective.max_mismatch` is {said:g}, and {who} in {what}, whose rounding alone is more",
        hint=f"leave it out (then it is {ROUNDED:g}), or train and sample in float32: "
        '`train.precision = "fp32"` and `objective.engine = "huggingface"`',
    )
