"""What a base can be asked, found by asking it before anything is learnt.

Whether its logits can be computed in parts, what rows begin with once for all, and rows side by
side, depends on the model's own code. Nothing here leaves a trace in the model, so that what is
found is the same when a training is resumed.
"""

from __future__ import annotations

from itertools import islice

from adapterworks.builders.objectives.scoring import LEAST_TOGETHER
from adapterworks.builders.plan.apart import rows_apart
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.projection import ChunkedProjection, projection_of
from adapterworks.builders.training.shared_prefix import computes_alike
from adapterworks.manifests.errors import Refused

# Sequences of a row of several that are tried whether they see each other.
_TOGETHER = 8


def find_projection(
    forward: Forward, rows: EncodedSet, plan: Plan, *, in_parts: bool
) -> ChunkedProjection | None:
    """The output projection a few positions at a time; None where this model cannot be asked so.

    Args:
        in_parts: no process holds the whole model.

    Raises:
        Refused: values are to be read from what goes into it, and nobody can tell what does.
    """
    found = projection_of(
        forward.model,
        forward.bare,
        rows.examples[0][0],
        precision=plan.precision,
        virtual_tokens=forward.virtual_tokens,
        in_parts=in_parts,
    )
    if found is None and forward.critic is not None:
        raise Refused(
            "this base computes its logits by something else than its output projection, so "
            "there is no hidden state to read values from",
            hint="use `grpo` or `rloo`, which need no value head",
        )
    return found


def many_together(rows: EncodedSet, plan: Plan) -> bool:
    """Whether a micro batch can have more positions than are computed at a time anyway."""
    return sum(sorted(rows.lengths)[-plan.micro_batch :]) > LEAST_TOGETHER


def prefix_can_be_shared(forward: Forward, rows: EncodedSet, plan: Plan, *, alone: bool) -> bool:
    """Whether this model computes the same where what rows begin with is computed once.

    Args:
        alone: one process trains. A soft prompt's cache goes past what wraps the model for several.
    """
    if forward.soft_prompt and not alone:
        return False
    return _computes_alike(forward, rows, plan, packing=False)


def require_packing(forward: Forward, rows: EncodedSet, plan: Plan) -> None:
    """Packing was asked for, and changes the batches: it is not left out without a word.

    Raises:
        Refused: packed rows would see each other in this model.
    """
    if not _computes_alike(forward, rows, plan, packing=True):
        raise Refused(
            "`train.packing`: in this base, packed rows would learn from one another",
            hint="use `train.group_by_length`, which computes almost no padding either",
        )


def _computes_alike(forward: Forward, rows: EncodedSet, plan: Plan, *, packing: bool) -> bool:
    """Asked of the longest examples, which a window would cut first."""
    longest = sorted(range(len(rows)), key=lambda index: -rows.lengths[index])
    sizes: list[int] = []
    if forward.side_by_side:
        # A sequence alone in its row has no neighbour that it could learn from.
        together = (index for index in longest if len(rows.examples[index]) > 1)
        examples = [one[:_TOGETHER] for one in rows.chosen([*islice(together, 2)])]
        sizes = [len(one) for one in examples]
        if not sizes:
            return True
    else:
        examples = rows.chosen(longest[: min(plan.micro_batch, max(2, rows_apart(plan)))])
    return computes_alike(
        forward.bare if forward.soft_prompt else forward.model,
        [sequence for one in examples for sequence in one],
        pad=forward.pad,
        precision=plan.precision,
        virtual_tokens=forward.virtual_tokens,
        packing=packing,
        sizes=sizes,
        projection=forward.projection,
    )
