"""The method attached to the base on the meta device: what a plan counted is what will be trained.

Invariant: no weight is read; a base that a method does not fit is refused here, with the reason,
and not by the training.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.builders.methods import METHODS
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.complete import meta_model


def check_attached(manifest: Manifest, checkpoint: Path, *, planned: int, steps: int) -> None:
    """Attach the method to the base's shapes, and count.

    Args:
        checkpoint: the base's folder.
        planned: trained parameters by the plan's arithmetic.
        steps: optimizer steps of the training.

    Raises:
        InvalidInput: it cannot be attached, or has another number of trained parameters.
    """
    technique = METHODS[manifest.method.kind]
    if technique.soft_prompt:  # starts from what the base computes, which shapes cannot
        return
    model = meta_model(checkpoint)
    model.requires_grad_(False)
    kind = f"`{manifest.method.kind}` on a base of type `{model.config.model_type}`"
    hint = "name other modules in `method.target_modules`, or choose another method"
    try:
        adapted = technique.attach(model, technique.unset(manifest.method), steps)
    except Exception as error:  # whatever PEFT says
        reason = " ".join(str(error).split())[:300]
        raise InvalidInput(f"{kind} cannot be trained: {reason}", hint=hint) from error
    counted = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    if counted != planned:
        raise InvalidInput(
            f"{kind} would train {counted:,} parameters, where its modules have {planned:,}: "
            "other modules of this base have the same names",
            hint=hint,
        )
