"""What processes hold of each GPU, asked of the driver: torch tells only what is free of one.

Invariant: whatever cannot be known (no `nvidia-smi`, a container that hides processes, WSL) counts
as nothing held, so a promise then counts whole beside what is free.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

_ASKED = [
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,used_memory",
    "--format=csv,noheader,nounits",
]
_PATIENCE_S = 10.0


def held_on_cards(processes: Iterable[int]) -> dict[str, int]:
    """Bytes that some processes hold of each GPU, by what CUDA calls it (`GPU-…`)."""
    try:
        said = subprocess.run(
            _ASKED, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse(said, processes)


def parse(said: str, processes: Iterable[int]) -> dict[str, int]:
    """What `nvidia-smi` says, a line a process and GPU: name, process, MiB.

    Args:
        said: without a header; what is not known is `[N/A]`.
    """
    asked, found = set(processes), dict[str, int]()
    for line in said.splitlines():
        name, process, held = ([part.strip() for part in line.split(",")] + ["", "", ""])[:3]
        if process.isdecimal() and held.isdecimal() and int(process) in asked:
            found[name] = found.get(name, 0) + (int(held) << 20)
    return found


def use_card(name: str) -> None:
    """Let this process's torch take a GPU where it says no number; nothing, if it sees none of that
    name."""
    import torch

    for number in range(torch.cuda.device_count()):
        uuid = getattr(torch.cuda.get_device_properties(number), "uuid", None)
        if uuid and f"GPU-{uuid}" == name:
            torch.cuda.set_device(number)
            return
