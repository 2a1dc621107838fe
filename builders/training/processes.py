"""Several processes: each computes its share of every batch, with all weights or (`sharding.py`)
those of one layer after the other.

Invariant: what the loop decides by (losses, norms, validation) is a sum over all processes, so that
all of them decide alike; what is drawn (dropout) differs between them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.job import REPLICATED
from adapterworks.manifests.errors import Refused

# How long processes wait for one another, as while one reads or writes: a checkpoint of 70 billion
# weights in full is 840 GB, which takes a disk of 100 MB/s 2.3 hours (NCCL alone gives up after ten
# minutes). A process that dies is noticed by the launcher.
_PATIENCE = timedelta(hours=4)


def make_accelerator(plan: Plan) -> Any:
    """`accelerate` as the plan says, whatever the environment or its configuration do: a compiled
    model would not see the hooks that are put on it later, and gradients that are accumulated by
    `accelerate` would be divided once more than by the step.

    Raises:
        Refused: as of `require_replicas`.
    """
    from accelerate import Accelerator
    from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs

    accelerator = Accelerator(
        mixed_precision="no" if plan.precision == "fp32" else plan.precision,
        cpu=plan.device == "cpu",
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    require_replicas(accelerator)
    return accelerator


def require_replicas(accelerator: Any) -> None:
    """Refuse a launcher that shards the weights.

    Raises:
        Refused: FSDP, DeepSpeed and the like; a plan refuses their configurations, but the
            environment can ask for them as well.
    """
    kind = str(getattr(accelerator.distributed_type, "value", accelerator.distributed_type))
    if kind not in REPLICATED:
        raise Refused(
            f"`accelerate` was launched with `{kind}`, which shards the weights: what is written "
            "would be one process's part",
            hint="launch with `train.processes`, or an `accelerate` configuration with "
            "`MULTI_GPU`, and say `train.sharding` for weights in parts",
        )


def draw_apart(accelerator: Any, seed: int, step: int = 0) -> None:
    """Let each of several processes draw other random numbers; one alone goes on as it was."""
    if accelerator.num_processes > 1:
        torch.manual_seed((seed + step * 1_000_003) * 1024 + accelerator.process_index)


def summed(accelerator: Any, value: float) -> float:
    """A sum over all processes, so that they decide alike."""
    if accelerator.num_processes == 1:
        return value
    tensor = torch.tensor(value, device=accelerator.device, dtype=torch.float64)
    return float(accelerator.reduce(tensor, reduction="sum"))


def shares(indices: list[int], micro_batch: int, accelerator: Any) -> tuple[list[list[int]], int]:
    """This process's micro batches of some examples, and how many of them count.

    Processes wait for one another in every pass, so all make as many: one that has no examples left
    takes another's, and counts nothing.
    """
    processes = accelerator.num_processes
    mine = indices[accelerator.process_index :: processes]
    micros = [mine[start : start + micro_batch] for start in range(0, len(mine), micro_batch)]
    most = -(-len(indices) // (processes * micro_batch))
    return [*micros, *([indices[:1]] * (most - len(micros)))], len(micros)
