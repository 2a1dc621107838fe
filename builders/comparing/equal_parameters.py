"""Methods compared at an equal number of trained parameters: rank or virtual tokens follow from it.

Full fine-tuning has no such number, and prompt tuning can hardly reach that of a LoRA: the nearest
one is taken, and a comparison shows what each method came to.
"""

from __future__ import annotations

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.method import MethodTable


def parameters(shape: BaseShape, table: MethodTable) -> int:
    """Trained parameters of a method's table on a base."""
    return METHODS[table.kind].trainable(shape, table)


def at_parameters(shape: BaseShape, table: MethodTable, target: int) -> MethodTable:
    """The method's table in the size whose count is nearest to `target`."""
    return min(
        METHODS[table.kind].sizes(table), key=lambda one: abs(parameters(shape, one) - target)
    )
