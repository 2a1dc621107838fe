"""What an optimizer is to the rest of the build: one object, one file, one table entry.

Invariant: `make` gives a `torch.optim.Optimizer` over exactly the groups that it is given, in their
order; the trainer sets each group's `lr` before every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Group:
    """Parameters with one learning rate.

    Attributes:
        parameters: what is trained, [named as the model names them].
        names: theirs.
        times: what the learning rate is multiplied by.
        matrix: they are matrices inside layers; not embeddings, output projections or vectors.
    """

    parameters: list[Any]
    names: list[str]
    times: float = 1.0
    matrix: bool = False

    def to_torch(self, **further: Any) -> dict[str, Any]:
        """As torch's optimizers take it; `times` is what the trainer reads back."""
        return {"params": self.parameters, "times": self.times, **further}


Make = Callable[[list[Group], float, float], "torch.optim.Optimizer"]


@dataclass(frozen=True)
class Optimizer:
    """One optimizer.

    Attributes:
        name: what `train.optimizer` says.
        title: its name in the literature.
        source: the paper, or who keeps it.
        make: (groups, learning rate, weight decay) → the optimizer.
        state: bytes that it keeps for a trained number, at most.
        temporaries: bytes for a trained number that its step needs beside them on a GPU.
        package: what has to be installed beside torch, whose version moves weights.
        needs: `cuda`, where it runs on a GPU only.
        schedules: those that it can be used with; all if empty.
        matrices: it treats matrices in another way than the rest.
        averages: what is trained is not what is evaluated and kept: it has `train()` and `eval()`
            to go from one to the other (schedule-free).
        by_number: it steps each number by itself, so that parts of a weight can be stepped apart.
        remembers: keys of its groups that a checkpoint has to keep.
    """

    name: str
    title: str
    source: str
    make: Make
    state: float
    temporaries: int = 0
    package: str | None = None
    needs: str | None = None
    schedules: tuple[str, ...] = ()
    matrices: bool = False
    averages: bool = False
    by_number: bool = False
    remembers: tuple[str, ...] = ()
