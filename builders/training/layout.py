"""How a training's micro batches are laid out, decided before its first step.

Invariant: the layout changes what a step costs, not what it computes; what this base cannot be
asked is left out and said, or refused where it was asked for (`abilities.py` finds out which).
"""

from __future__ import annotations

from collections.abc import Callable

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.abilities import (
    find_projection,
    many_together,
    prefix_can_be_shared,
    require_packing,
)
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward


def lay_out(
    forward: Forward,
    rows: EncodedSet,
    plan: Plan,
    *,
    in_parts: bool,
    alone: bool,
    say: Callable[..., None],
) -> EncodedSet:
    """Set how `forward` computes a micro batch; returns the training rows, packed where planned.

    Args:
        rows: those that are trained on.
        in_parts: no process holds the whole model.
        alone: one process trains.
        say: emits an event, by its name and fields.

    Raises:
        Refused: packed rows would see each other in this model, or a value head cannot be read.
    """
    forward.projection = find_projection(forward, rows, plan, in_parts=in_parts)
    if forward.projection is None and many_together(rows, plan):
        say("whole_logits", reason="of this base they cannot be computed in parts")
    if plan.packed_to is not None:
        rows = rows.in_packs(plan.packed_to)
        forward.side_by_side = True
    if plan.manifest.train.packing:
        require_packing(forward, rows, plan)
    if plan.shared_prefix:
        forward.shares_prefix = prefix_can_be_shared(forward, rows, plan, alone=alone)
        say("shared_prefix", tokens=plan.shared_prefix, used=forward.shares_prefix)
    return rows
