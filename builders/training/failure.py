"""What ended a training: left by its process for the build, or read from the log where it could
leave nothing.

Invariant: a build tells the reason of the process that failed first, never the frame that a
launcher puts around it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods import METHODS
from adapterworks.builders.plan.occupied import gib
from adapterworks.manifests.atomic import write_atomic
from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)

if TYPE_CHECKING:
    from adapterworks.builders.plan.plan import Plan

FAILURE = "failure.json"
LOG = "train.log"
_KINDS: dict[str, type[AdapterworksError]] = {
    kind.__name__: kind
    for kind in (Conflict, IntegrityError, InvalidInput, NotFound, Refused, Unavailable)
}
_KILLED = (-9, 137)
# What allocators say that raise no error of their own: CUDA's runtime, cuBLAS, torch on a CPU.
_WANTED_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed")
# torchrun's report (torch/distributed/elastic/multiprocessing/errors), and `accelerate launch`'s.
_ROOT = re.compile(r"Root Cause.*?\brank\s*:\s*(\d+).*?\bexitcode\s*:\s*(-?\d+)", re.DOTALL)
_DIED = re.compile(r"CalledProcessError: .* died with <Signals\.SIGKILL")
_LAUNCHERS = ("ChildFailedError", "CalledProcessError")
_RAISED = re.compile(r"(?:\[rank(\d+)\]:\s*)?(\w[\w.]*(?:Error|Exception|Interrupt)\b.*)")


def error_to_json(error: AdapterworksError) -> dict[str, Any]:
    """An error as JSON values, for another process to raise."""
    known = (one.__name__ for one in type(error).__mro__ if one.__name__ in _KINDS)
    return {
        "error": next(known, Refused.__name__),
        "message": error.message,
        "hint": error.hint,
    }


def error_from_json(values: dict[str, Any]) -> AdapterworksError:
    """The error that `error_to_json` told, of the same kind."""
    return _KINDS[values["error"]](values["message"], hint=values["hint"])


def report_failure(folder: Path, error: AdapterworksError) -> None:
    """Leave what a training was ended by for the build to raise, as an error of the same kind."""
    # Several processes may fail at once.
    write_atomic(folder / FAILURE, json.dumps(error_to_json(error)))


def wants_memory(error: BaseException) -> bool:
    """Whether an error is one of too little memory, on a GPU or a CPU."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in _WANTED_MEMORY)


def out_of_memory(plan: Plan) -> Refused:
    """What a training says that had too little memory: trying again as it is would end alike."""
    import torch

    taken = ""
    if plan.device == "cuda" and torch.cuda.is_available():
        taken = f", and {gib(torch.cuda.max_memory_allocated())} were taken when it asked for more"
    return Refused(
        f"the training ran out of memory: its plan foresaw {gib(plan.memory['total'])}{taken}",
        hint=_relief(plan),
    )


def failure_of(folder: Path, code: int, began: int = 0) -> AdapterworksError:
    """What a training that ended with an exit code was ended by.

    Args:
        folder: the build directory.
        code: of the process that the build started, which may be a launcher.
        began: bytes of the log that were there before it.
    """
    path = folder / FAILURE
    if path.exists():
        return error_from_json(json.loads(path.read_text(encoding="utf-8")))
    log = folder / LOG
    text = log.read_bytes()[began:].decode("utf-8", errors="replace") if log.exists() else ""
    root = _ROOT.search(text)
    if code in _KILLED or _DIED.search(text) or (root and int(root[2]) in _KILLED):
        return Unavailable(
            "the training process was killed, most likely for want of memory",
            hint="free memory or set a smaller `train.micro_batch_size`, then `--resume`",
        )
    code = int(root[2]) if root else code
    return Unavailable(
        f"the training process failed with exit code {code}: {_reason(text, root and root[1])}",
        hint=f"its whole output is in `{log}`",
    )


def _relief(plan: Plan) -> str:
    """What takes less memory and lets the training go on from where it is, if anything does."""
    technique, train = METHODS[plan.manifest.method.kind], plan.manifest.train
    less = []
    if plan.micro_batch > 1:
        less.append(f"set `train.micro_batch_size` below {plan.micro_batch}")
    if (plan.generation_batch or 0) > 1:
        less.append(f"`objective.generation_batch_size` below {plan.generation_batch}")
    if technique.gradient_checkpointing and not train.gradient_checkpointing:
        less.append("set `train.gradient_checkpointing = true`")
    if less:
        return f"{' or '.join(less)}, then `--resume`"
    return technique.relief


def _reason(text: str, rank: str | None) -> str:
    """The line that tells why.

    Args:
        text: what the training and its launcher have written.
        rank: of the process that failed first, where there were several.
    """
    lines = [line for line in text.splitlines() if line.strip(" =-")]
    if not lines:
        return "no output"
    if not any(name in text for name in _LAUNCHERS):
        return lines[-1]
    raised = [found for line in lines if (found := _RAISED.match(line)) and not _launcher(line)]
    first = [found for found in raised if found[1] == rank]
    told = first or raised
    if told:
        return str(told[-1][2])
    # Nothing was raised: what stands before the launcher's own words.
    begins = next(n for n, line in enumerate(lines) if _launcher(line) or "Traceback" in line)
    return lines[max(0, begins - 1)]


def _launcher(line: str) -> bool:
    return any(name in line for name in _LAUNCHERS)
