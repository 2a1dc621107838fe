"""What a plan needs of a machine: `[resources]`, checked against the plan, and filled by it.

Invariant: pure, and no part of any digest: the same weights are trained whatever it says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.models import Manifest

_GIB = 2**30
# Of the prediction: what else a build holds (rows, an evaluation, its own process).
_RESERVE, _BESIDE = 1.25, 2 * _GIB


@dataclass(frozen=True, slots=True)
class Needs:
    """What a build is given.

    Attributes:
        gpus: of each node.
        memory: bytes of each node's own, not of its GPUs; None: whatever it is.
        seconds: it is ended after; None: whenever the place ends it.
    """

    gpus: int
    nodes: int
    processes: int
    memory: int | None
    seconds: int | None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def declared(manifest: Manifest) -> Needs:
    """What the manifest says, and nothing of a plan.

    Raises:
        InvalidInput: it asks for several nodes.
    """
    table = manifest.resources
    if table.nodes > 1:
        raise InvalidInput(
            f"`resources.nodes` is {table.nodes}, and a build is trained on one node",
            hint="set it to 1; `train.processes` uses several GPUs of a node",
        )
    processes = manifest.train.processes
    return Needs(table.gpus or 0, table.nodes, processes, table.memory_bytes, table.seconds)


def needs(manifest: Manifest, device: Literal["cpu", "cuda"], total: int, parameters: int) -> Needs:
    """What the manifest says; what it does not is of the plan.

    Args:
        device: that the plan trains on.
        total: bytes that training is predicted to take, of each process or GPU.
        parameters: of the base.

    Raises:
        InvalidInput: it asks for several nodes.
    """
    said = declared(manifest)
    gpus = said.gpus
    if manifest.resources.gpus is None and device == "cuda":
        gpus = said.processes
    memory = said.memory
    if memory is None:
        memory = _whole(_predicted(device, total, parameters, said))
    return Needs(gpus, said.nodes, said.processes, memory, said.seconds)


def check_resources(manifest: Manifest, device: Literal["cpu", "cuda"], total: int) -> None:
    """Refuse what contradicts the plan.

    Args:
        total: bytes that training is predicted to take, of each process or GPU.

    Raises:
        InvalidInput: two keys contradict each other.
        Refused: it would not do.
    """
    table, processes = manifest.resources, manifest.train.processes
    if table.processes is not None and table.processes != processes:
        raise InvalidInput(
            f"`resources.processes` is {table.processes}, and `train.processes` is {processes}",
            hint="set both to the same number, or leave `resources.processes` out",
        )
    if table.gpus and table.gpus < processes:
        raise InvalidInput(
            f"`resources.gpus` is {table.gpus}, and {processes} processes train, one a GPU",
            hint="raise it to `train.processes`",
        )
    said = table.memory_bytes
    least = total * processes if device == "cpu" and not table.gpus else 0
    if said is not None and said < least:
        raise Refused(
            f"`resources.memory` is {said / 1e9:.1f} GB, and training is predicted to take "
            f"{least / 1e9:.1f} GB",
            hint="raise it, or set a smaller `train.micro_batch_size`",
        )


def _predicted(device: str, total: int, parameters: int, said: Needs) -> int:
    """Bytes of a node's own memory."""
    if said.gpus or device == "cuda":
        # The weights are read into it before they are on the GPU; each process reads its own.
        return round(4 * parameters * said.processes * _RESERVE) + _BESIDE
    return round(total * said.processes * _RESERVE) + _BESIDE


def _whole(size: int) -> int:
    """In whole GiB, rounded up."""
    return -(-size // _GIB) * _GIB
