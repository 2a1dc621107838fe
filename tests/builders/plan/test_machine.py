"""What is seen of a machine: memory as the kernel says it, precision as the device has it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from adapterworks.builders.plan import machine
from adapterworks.builders.plan.cards import held_on_cards, parse, use_card
from adapterworks.builders.plan.machine import Card, Machine, detect_machine, named_machine
from adapterworks.manifests.errors import InvalidInput

MEMINFO = (
    "MemTotal:       32000 kB\nMemFree:          100 kB\nMemAvailable:   20000 kB\nCached: 7 kB\n"
)


def pretend(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]) -> None:
    """The kernel's files, and 3,000 pages of 4,096 bytes."""

    def opened(path: str, **options: object) -> io.StringIO:
        if path not in files:
            raise FileNotFoundError(path)
        return io.StringIO(files[path])

    pages = {"SC_AVPHYS_PAGES": 3000, "SC_PHYS_PAGES": 9000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(machine, "open", opened, raising=False)
    monkeypatch.setattr(machine.os, "sysconf", pages.__getitem__)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: {0, 3, 5})


def group(limit: str, used: str = "", cached: str = "") -> dict[str, str]:
    """What a control group says of its memory."""
    files = {"memory.max": limit}
    if used:
        files["memory.current"] = f"{used}\n"
    if cached:
        files["memory.stat"] = f"anon 7\ninactive_file {cached}\nactive_file 8\n"
    return {f"/sys/fs/cgroup/{name}": text for name, text in files.items()}


def card(monkeypatch: pytest.MonkeyPatch, *, driver: bool, available: bool, bf16: bool) -> None:
    monkeypatch.setattr(machine, "_DRIVERS", (os.devnull,) if driver else ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    # As torch answers of any card: emulation counts.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    properties = SimpleNamespace(name="A10", total_memory=24 << 30, major=8, uuid="a-1")
    smaller = SimpleNamespace(name="A10", total_memory=20 << 30, major=8 if bf16 else 7, uuid="b-2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: [properties, smaller][number]
    )
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda number: ([9 << 30, 19 << 30][number], 24 << 30)
    )


@pytest.mark.parametrize(
    ("files", "memory", "total"),
    [
        ({"/proc/meminfo": MEMINFO, **group("max\n")}, 20_000 * 1024, 9000 * 4096),
        ({"/proc/meminfo": MEMINFO, **group("5000000\n")}, 5_000_000, 5_000_000),
        ({"/proc/meminfo": MEMINFO, **group("900000000\n")}, 20_000 * 1024, 9000 * 4096),
        # What its processes hold is not free, but for what is a file's and can be read again.
        ({"/proc/meminfo": MEMINFO, **group("5000000", "4000000")}, 1_000_000, 5_000_000),
        (
            {"/proc/meminfo": MEMINFO, **group("5000000", "4000000", "3500000")},
            4_500_000,
            5_000_000,
        ),
        ({"/proc/meminfo": MEMINFO, **group("5000000", "6000000")}, 0, 5_000_000),
        ({"/proc/meminfo": MEMINFO}, 20_000 * 1024, 9000 * 4096),
        ({"/proc/meminfo": "MemTotal: 1 kB\n"}, 3000 * 4096, 9000 * 4096),
        ({}, 3000 * 4096, 9000 * 4096),
    ],
)
def test_what_may_be_used_is_what_is_available_within_the_groups_limit(
    files: dict[str, str], memory: int, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, files)
    card(monkeypatch, driver=False, available=True, bf16=True)
    found = detect_machine()
    assert found == Machine("cpu", found.name, memory, "fp32", 3, total=total)
    assert found.name


def test_a_card_gives_its_memory_and_its_best_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    card(monkeypatch, driver=True, available=True, bf16=True)
    each = (Card("GPU-a-1", 9 << 30), Card("GPU-b-2", 19 << 30))
    assert detect_machine() == Machine("cuda", "A10", 19 << 30, "bf16", 3, 2, 20 << 30, each)
    card(monkeypatch, driver=True, available=True, bf16=False)
    assert detect_machine() == Machine("cuda", "A10", 19 << 30, "fp16", 3, 2, 20 << 30, each)


def test_a_build_is_planned_for_the_freest_cards_that_it_takes() -> None:
    """An engine that holds most of one card is none of a build's that takes another."""
    each = tuple(Card(f"GPU-{at}", free << 30) for at, free in enumerate((5, 70, 60, 79)))
    found = Machine("cuda", "H100", 79 << 30, "bf16", 8, 4, 79 << 30, each)
    memories = [found.of_cards(count).memory >> 30 for count in (1, 2, 3, 4)]
    assert memories == [79, 70, 60, 5]
    assert [one.id for one in found.freest(2)] == ["GPU-3", "GPU-1"]
    assert found.of_cards(5) == found
    named = named_machine("2xa100-80g")
    assert named.of_cards(2) == named


def test_cards_that_cannot_be_told_apart_have_no_name() -> None:
    """Parts of one card (MIG) have its name, and not every build of torch tells names."""
    parts = [SimpleNamespace(uuid="a"), SimpleNamespace(uuid="a"), SimpleNamespace(uuid="b")]
    assert machine._names([*parts, SimpleNamespace()]) == ["", "", "GPU-b", ""]


SAID = """GPU-a-1, 11, 300
GPU-a-1, 12, 4
GPU-b-2, 11, 20
GPU-b-2, 99, 5000
GPU-b-2, 12, [N/A]
No running processes found
"""


def test_what_processes_hold_of_each_card_is_asked_of_the_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert parse(SAID, (11, 12)) == {"GPU-a-1": 304 << 20, "GPU-b-2": 20 << 20}
    assert parse("", (11,)) == {}
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<END\n{SAID}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert held_on_cards([99]) == {"GPU-b-2": 5000 << 20}
    program.write_text("#!/bin/sh\nexit 9\n")
    assert held_on_cards([99]) == {}
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert held_on_cards([99]) == {}


def test_this_process_takes_the_card_that_was_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, driver=True, available=True, bf16=True)
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    use_card("GPU-b-2")
    use_card("GPU-elsewhere")
    assert taken == [1]


@pytest.mark.parametrize(
    "shown", ["/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu", "/dev/kfd"]
)
def test_a_driver_is_seen_wherever_it_shows_itself(
    shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WSL 2, Jetson and sandboxes have no `/proc/driver/nvidia`, and torch sees their GPU."""
    pretend(monkeypatch, {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    drivers = machine._DRIVERS
    card(monkeypatch, driver=True, available=True, bf16=True)
    monkeypatch.setattr(machine, "_DRIVERS", drivers)
    monkeypatch.setattr(machine.os.path, "exists", lambda path: path == shown)
    assert detect_machine().device == "cuda"
    monkeypatch.setattr(machine.os.path, "exists", lambda path: False)
    assert detect_machine().device == "cpu"


def test_a_card_that_is_hidden_or_broken_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {})
    card(monkeypatch, driver=True, available=True, bf16=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert detect_machine().device == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert detect_machine().device == "cuda"
    card(monkeypatch, driver=True, available=False, bf16=True)
    assert detect_machine().device == "cpu"


@pytest.mark.parametrize(
    ("name", "gib", "precision", "cards"),
    [
        ("a10", 22.0, "bf16", 1),
        ("2xa100-80g", 79.0, "bf16", 2),
        ("a100-40g", 39.2, "bf16", 1),
        ("8xH100", 79.0, "bf16", 8),
        ("t4", 14.5, "fp16", 1),
    ],
)
def test_a_machine_elsewhere_has_a_name(name: str, gib: float, precision: str, cards: int) -> None:
    found = named_machine(name)
    assert (found.device, found.precision, found.cards) == ("cuda", precision, cards)
    assert found.memory == int(gib * 2**30)


@pytest.mark.parametrize("name", ["", "a10-80g", "0xa10", "2x", "x100", "2xa100-80", "a100 80g"])
def test_what_names_no_machine_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(InvalidInput, match="names no machine") as caught:
        named_machine(name)
    assert "`a100-40g`" in str(caught.value.hint)
