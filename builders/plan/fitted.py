"""What a training does at once on a machine: learn from so many examples, sample so many answers.

`fit.py` finds the micro batch; here a shared beginning, which may not pay, and what is generated
between the steps are weighed with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.fit import BYTES, fit
from adapterworks.builders.plan.generation import generated_together, with_sampling
from adapterworks.builders.plan.machine import Machine, Precision
from adapterworks.builders.plan.memory import Memory
from adapterworks.builders.plan.occupied import USABLE, Occupied
from adapterworks.builders.plan.resources import check_resources
from adapterworks.builders.plan.sharing import sharing_pays
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import Manifest


@dataclass(frozen=True, slots=True)
class Fitted:
    """What fits the machine.

    Attributes:
        micro_batch: examples that are computed at once.
        generation_batch: answers that are generated together; 0 where none are.
        shared_prefix: tokens of the beginning that is computed once; 0 where none is.
        memory: what all of it takes.
    """

    micro_batch: int
    generation_batch: int
    shared_prefix: int
    memory: Memory


def fitted(
    manifest: Manifest,
    shape: BaseShape,
    machine: Machine,
    data: DataFacts,
    beginnings: Sequence[tuple[int, int]],
    trainable: int,
    precision: Precision,
    taught: int,
) -> Fitted:
    """What fits the machine, with what a micro batch has in common computed once where that pays.

    Args:
        beginnings: what it may be asked to have in common (`sharing.beginnings`).
        taught: parameters of a teacher that stands beside the model.

    Raises:
        Refused: nothing fits, or not within what the manifest asks of a place.
        Occupied: one would, if others held less of the memory.
    """

    def at(shared: int, group: int = 1) -> tuple[int, Memory]:
        facts = replace(data, shared=shared)
        return fit(manifest, shape, machine, facts, shared, trainable, precision, taught, group)

    def apart() -> int:
        """Examples at once with nothing in common; 0 where not one fits."""
        try:
            return at(0)[0]
        except (Refused, Occupied):
            return 0

    for shared, group in beginnings:
        try:
            micro, memory = at(shared, group)
        except (Refused, Occupied):  # the mask of one long row grows with its square
            continue
        pays = sharing_pays(shape, replace(data, shared=shared), micro)
        # A small group would be a smaller micro batch, which may cost more than its prompt.
        if pays and (group == 1 or micro >= apart()):
            break
    else:
        shared = 0
        micro, memory = at(shared)
    width, room = BYTES[precision], int(machine.memory * USABLE)
    generated = generated_together(memory, manifest, shape, machine, data, width, room)
    memory = with_sampling(memory, manifest, shape, machine, data, width, generated)
    check_resources(manifest, machine.device, memory.total)
    return Fitted(micro, generated, shared, memory)
