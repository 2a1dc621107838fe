"""What a training does at once on a machine: learn from so many examples, sample so many answers.

`fit.py` finds the micro batch; here a shared beginning, which may not pay, and what is generated
between the steps are weighed with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.fit import BYTES, fit
from adapterworks.builders.plan.generation import generated_together, with_sampling
from adapterworks.builders.plan.machine import Machine, Precision
from adapterworks.builders.plan.memory import Memory
from adapterworks.builders.plan.occupied import USABLE
from adapterworks.builders.plan.resources import check_resources
from adapterworks.builders.plan.sharing import sharing_pays
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
    shared: int,
    trainable: int,
    precision: Precision,
    taught: int,
) -> Fitted:
    """What fits the machine, with a shared beginning of `shared` tokens where that pays.

    Args:
        taught: parameters of a teacher that stands beside the model.

    Raises:
        Refused: nothing fits, or not within what the manifest asks of a place.
    """
    micro, memory = fit(manifest, shape, machine, data, shared, trainable, precision, taught)
    if shared and not sharing_pays(shape, data, micro):
        shared = 0
        micro, memory = fit(manifest, shape, machine, data, shared, trainable, precision, taught)
    width, room = BYTES[precision], int(machine.memory * USABLE)
    generated = generated_together(memory, manifest, shape, machine, data, width, room)
    memory = with_sampling(memory, manifest, shape, machine, data, width, generated)
    check_resources(manifest, machine.device, memory.total)
    return Fitted(micro, generated, shared, memory)
