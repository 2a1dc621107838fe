"""The machine a build runs on: device, memory, precision. Detected once, then a plain value.

Invariant: `make_plan` sees the machine only through this value, so a plan can be made for another.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from adapterworks.manifests.errors import InvalidInput

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU.

    Attributes:
        id: how CUDA calls it wherever it stands in a list (`GPU-…`); empty where torch does not say
            so or several have one: then nobody can be told to take this one.
        free: bytes that a build may take of it now.
    """

    id: str
    free: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs.

    Attributes:
        memory: what a build may use there now, in bytes: of a CPU, or of each GPU that it takes
            (`of_cards`; else the freest one).
        cards: how many GPUs there are, all alike for a plan: the smallest one counts.
        total: what it could use if nothing else ran there, in bytes; 0 where that is `memory`.
        each: the GPUs, where they were looked at one by one.
    """

    device: Literal["cpu", "cuda"]
    name: str
    memory: int
    precision: Precision
    cores: int
    cards: int = 1
    total: int = 0
    each: tuple[Card, ...] = ()

    def of_cards(self, count: int) -> Machine:
        """The machine for a build that takes so many GPUs, the freest ones: each has as much as the
        fullest of them. The same where they were not looked at, or are fewer."""
        chosen = self.freest(count)
        return replace(self, memory=chosen[-1].free) if chosen else self

    def freest(self, count: int) -> tuple[Card, ...]:
        """So many GPUs, the freest first; none where there are not so many to be told apart."""
        by_room = sorted(self.each, key=lambda card: -card.free)
        return tuple(by_room[:count]) if 0 < count <= len(by_room) else ()

    def of_kind(self, device: Literal["cpu", "cuda"], memory: int) -> Machine:
        """The machine with another device and memory in bytes, to plan for a place elsewhere."""
        precision: Precision = "bf16" if device == "cuda" else "fp32"
        return replace(self, device=device, memory=memory, total=memory, precision=precision)

    @property
    def most(self) -> int:
        """Bytes that are there when nothing else runs."""
        return max(self.total, self.memory)


# (memory in GiB that CUDA reports, less what its context takes; whether it computes in bf16), by
# the makers' data sheets. Where a card comes in several sizes, the first one is meant.
_CARDS: dict[str, tuple[dict[int, float], bool]] = {
    "t4": ({16: 14.5}, False),
    "v100": ({16: 15.5, 32: 31.5}, False),
    "l4": ({24: 22.0}, True),
    "a10": ({24: 22.0}, True),
    "rtx4090": ({24: 23.3}, True),
    "l40s": ({48: 44.0}, True),
    "a100": ({80: 79.0, 40: 39.2}, True),
    "h100": ({80: 79.0}, True),
    "h200": ({141: 139.5}, True),
}
# What a driver shows: NVIDIA's, its device where a sandbox hides `/proc/driver`, WSL 2's (whose
# driver is Windows's), Jetson's, AMD's.
_DRIVERS = (
    "/proc/driver/nvidia",
    "/dev/nvidiactl",
    "/dev/dxg",
    "/dev/nvhost-gpu",
    "/dev/nvgpu",
    "/dev/kfd",
)
_CGROUP, _CACHE = "/sys/fs/cgroup", "inactive_file "
_NAMED = re.compile(r"(?:([1-9][0-9]{0,3})x)?([a-z0-9]+?)(?:-([0-9]{1,3})g)?")


def named_machine(text: str) -> Machine:
    """A machine with GPUs by name, to plan for it elsewhere: `a10`, `2xa100-80g`, `8xh100`.

    Raises:
        InvalidInput: no such name.
    """
    found = _NAMED.fullmatch(text.lower())
    sizes, bf16 = _CARDS.get(found[2], ({}, False)) if found else ({}, False)
    size = int(found[3]) if found and found[3] else next(iter(sizes), 0)
    if found is None or size not in sizes:
        cards = ", ".join(f"`{n}-{g}g`" for n, (known, _) in _CARDS.items() for g in known)
        raise InvalidInput(
            f"`{text}` names no machine",
            hint=f"write N times a card, such as `2xa100-80g`; cards are {cards}",
        )
    precision: Precision = "bf16" if bf16 else "fp16"
    memory = int(sizes[size] * 2**30)
    return Machine("cuda", found[2].upper(), memory, precision, 8, int(found[1] or 1))


def detect_machine() -> Machine:
    """Look at this machine.

    A CPU trains in float32: without AMX or AVX512-BF16, bfloat16 there is 2–3× slower (measured).
    """
    cores = len(os.sched_getaffinity(0))
    if os.environ.get("CUDA_VISIBLE_DEVICES") != "" and _has_driver():
        import torch

        if torch.cuda.is_available():
            cards = [
                torch.cuda.get_device_properties(number)
                for number in range(torch.cuda.device_count())
            ]
            total = min(card.total_memory for card in cards)
            # An engine, say, may hold most of a card.
            each = tuple(
                Card(name, torch.cuda.mem_get_info(number)[0])
                for number, name in enumerate(_names(cards))
            )
            free = max(card.free for card in each)
            precision: Precision = "bf16" if all(map(_computes_bf16, cards)) else "fp16"
            return Machine("cuda", cards[0].name, free, precision, cores, len(cards), total, each)
    name = platform.processor() or platform.machine()
    free, total = free_memory()
    return Machine("cpu", name, free, "fp32", cores, total=total)


def _names(cards: Sequence[Any]) -> list[str]:
    """How CUDA calls some cards. Parts of a card (MIG) have its name, and AMD's none: those cannot
    be told apart."""
    names = [f"GPU-{card.uuid}" if getattr(card, "uuid", None) else "" for card in cards]
    return [name if names.count(name) == 1 else "" for name in names]


def _computes_bf16(card: Any) -> bool:
    """Whether a card computes in bfloat16 itself: NVIDIA's since Ampere (8.0), AMD's that torch
    knows. `torch.cuda.is_bf16_supported` counts emulation too, which has no tensor cores and no
    attention but the one that keeps every score.

    Args:
        card: its properties, as torch tells them.
    """
    import torch

    return torch.version.hip is not None or card.major >= 8


def _has_driver() -> bool:
    """Whether a GPU's driver is there; asking torch costs seconds of import on machines without
    one. Where there is one that torch cannot use, torch says so."""
    return any(map(os.path.exists, _DRIVERS))


def free_memory() -> tuple[int, int]:
    """Bytes that can be used without swapping, now and if nothing else ran.

    Both are within the cgroup's limit when there is one; what its files hold in caches is free.
    """
    pages = os.sysconf("SC_PAGE_SIZE")
    available, total = os.sysconf("SC_AVPHYS_PAGES") * pages, os.sysconf("SC_PHYS_PAGES") * pages
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit = "".join(_lines(f"{_CGROUP}/memory.max")).strip()
    if limit.isdigit():
        total = min(total, int(limit))
        used = "".join(_lines(f"{_CGROUP}/memory.current")).strip()
        caches = (x.split()[1] for x in _lines(f"{_CGROUP}/memory.stat") if _CACHE in x)
        taken = int(used) - int(next(caches, 0)) if used.isdigit() else 0
        available = min(available, max(0, int(limit) - max(0, taken)))
    return available, max(total, available)


def _lines(path: str) -> list[str]:
    """The lines of one of the kernel's files; none where there is no such file."""
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            return list(file)
    except OSError:
        return []
