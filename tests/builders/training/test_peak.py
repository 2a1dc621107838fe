"""Peak memory: what is allocated is seen, on a CPU by its pages, on a GPU by its allocator."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from adapterworks.builders.training import peak
from adapterworks.builders.training.peak import PeakMemory


def test_an_allocation_is_seen_also_when_it_is_gone() -> None:
    """Pages of its own: a block of the heap may lie on pages that earlier tests have freed."""
    size = 64 << 20
    measured = PeakMemory("cpu")
    with mmap.mmap(-1, size) as pages:
        pages.write(b"\1" * size)
    assert size <= measured.bytes() + (1 << 20)
    assert measured.bytes() < 16 * size


def test_growth_is_from_where_it_began(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, clear = tmp_path / "status", tmp_path / "clear"
    status.write_text("Name:\tpython\nVmHWM:\t  900 kB\nVmRSS:\t  300 kB\n")
    monkeypatch.setattr(peak, "_STATUS", status)
    monkeypatch.setattr(peak, "_CLEAR", clear)
    measured = PeakMemory("cpu")
    assert clear.read_text() == "5"
    assert measured.bytes() == 600 * 1024
    status.write_text("VmHWM:\t 200 kB\n")
    assert measured.bytes() == 0
    assert peak._status("VmRSS") == 0
    monkeypatch.setattr(peak, "_CLEAR", tmp_path / "gone" / "clear")
    assert PeakMemory("cpu").bytes() == 200 * 1024, "a kernel that resets nothing is no fault"


def test_a_gpus_allocator_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: asked.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 12345)
    measured = PeakMemory("cuda")
    assert asked == ["reset"]
    assert measured.bytes() == 12345
