"""The kernel for few rows: types, ranks, threads, and what it must not touch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numba
import pytest
import torch

from adapterworks.gateway.engine_plugin import few_rows
from adapterworks.gateway.engine_plugin.grouping import group_rows
from adapterworks.gateway.engine_plugin.products import Batch, Product
from adapterworks.gateway.engine_plugin.weights import LayerWeights

SLOTS, RANK, WIDTH, SIZES = 5, 11, 40, (24, 8)


def _weights(dtype: torch.dtype, ranks: dict[int, int]) -> LayerWeights:
    weights = LayerWeights(
        tuple(torch.zeros(SLOTS, 1, RANK, WIDTH, dtype=dtype) for _ in SIZES),
        tuple(torch.zeros(SLOTS, 1, size, RANK, dtype=dtype) for size in SIZES),
        SIZES,
    )
    draw = torch.Generator().manual_seed(5)
    for slot, rank in ranks.items():
        a = [torch.randn(rank, WIDTH, generator=draw).to(dtype) for _ in SIZES]
        b = [torch.randn(size, rank, generator=draw).to(dtype) for size in SIZES]
        for s, views in enumerate(zip(weights.a_views, weights.b_views, strict=True)):
            views[0][slot, 0, :rank] = a[s]
            views[1][slot, 0, :, :rank] = b[s]
        weights.note(slot, a, b)
    return weights


def _wanted(
    weights: LayerWeights, slots: list[int], x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    wanted = y.double()
    for row, slot in enumerate(slots):
        for s, columns in enumerate(weights.slices):
            if slot >= 0:
                h = weights.a[slot, :, s].double() @ x[row].double()
                wanted[row, columns] += h @ weights.b[slot, :, columns].double()
    return wanted


def _products(weights: LayerWeights, slots: list[int]) -> list[Product]:
    return list(Batch(group_rows(slots), "cpu").products(weights))


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    yield
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-4), (torch.bfloat16, 0.3), (torch.float16, 0.1)],
)
def test_every_type_and_rank_is_added_in_place(dtype: torch.dtype, tolerance: float) -> None:
    # Ranks that are no multiple of four, one slot that is empty, rows in no order, base rows.
    weights = _weights(dtype, {0: 11, 1: 1, 2: 4, 4: 7})
    slots = [4, -1, 0, 2, 3, 1, 0, 4, 4, -1, 2]
    x = torch.randn(len(slots), WIDTH).to(dtype)
    y = torch.randn(len(slots), sum(SIZES)).to(dtype)
    wanted, before = _wanted(weights, slots, x, y), y.clone()
    for product in _products(weights, slots):
        product(x, y)
    assert (y.double() - wanted).abs().max() < tolerance
    untouched = [row for row, slot in enumerate(slots) if slot in (-1, 3)]
    assert torch.equal(y[untouched], before[untouched])


def test_bfloat16_is_computed_in_float32_and_rounded_once() -> None:
    """Half of the last place goes to even, as torch does it; NaN stays NaN."""
    weights = _weights(torch.bfloat16, {0: 1, 1: 1})
    weights.a.zero_()
    weights.a[:, 0, :, 0] = 1
    weights.b[:, 0] = 1
    x = torch.zeros(2, WIDTH, dtype=torch.bfloat16)
    x[0, 0], x[1, 0] = 1 / 256, float("nan")
    y = torch.linspace(1, 2, sum(SIZES)).to(torch.bfloat16).repeat(2, 1)
    wanted = (y.float() + x[:, :1].float()).to(torch.bfloat16)
    (product,) = _products(weights, [0, 1])
    product(x, y)
    assert torch.equal(y[0], wanted[0])
    assert y[1].isnan().all()


def test_more_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = _weights(torch.float32, {0: 8, 1: 5})
    slots = [0, 0, 0, 1, 0, 1, 1]
    x, y = torch.randn(len(slots), WIDTH), torch.randn(len(slots), sum(SIZES))
    results = []
    for threads in (1, 2, 16):
        # Rows are divided into as many pieces as there are threads.
        monkeypatch.setattr(few_rows, "use_threads", lambda n=threads: n)
        result = y.clone()
        for product in _products(weights, slots):
            product(x, result)
        results.append(result)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_a_slice_that_an_adapter_does_not_touch_is_not_read() -> None:
    weights = _weights(torch.float32, {0: 8, 1: 8})
    weights.a[0, :, 1] = float("nan")
    weights.note(0, [torch.ones(8, WIDTH), None], [torch.ones(SIZES[0], 8), None])
    x, y = torch.randn(2, WIDTH), torch.zeros(2, sum(SIZES))
    for product in _products(weights, [0, 1]):
        product(x, y)
    assert y.isfinite().all()
    assert (y[0, SIZES[0] :] == 0).all()
    assert (y[0, : SIZES[0]] != 0).any()


def test_fewer_rows_than_the_batch_has_are_no_memory_fault() -> None:
    weights = _weights(torch.float32, {0: 8, 1: 8})
    (product,) = _products(weights, [0, 1, 0, 1])
    x, y = torch.randn(4, WIDTH), torch.zeros(4, sum(SIZES))
    for few in ((x[:3], y), (x, y[:3])):
        with pytest.raises(IndexError, match="adapters have 4"):
            product(*few)
    assert not y.any()


SHARED = """
import os, torch
from adapterworks.gateway.engine_plugin import few_rows
from adapterworks.gateway.engine_plugin.few_rows import numba

def threads():
    return len(os.listdir("/proc/self/task"))

@numba.njit(parallel=True)
def fill(values):
    for i in numba.prange(len(values)):
        values[i] = 1

few_rows.compile_for(torch.float32)
torch.ones(2000, 2000).sum()
before = threads()
fill(torch.zeros(100).numpy())
print(few_rows.use_threads(), torch.get_num_threads(), threads() - before)
"""


@pytest.mark.parametrize("preloaded", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_threads_are_torchs_own(preloaded: bool) -> None:
    """Two OpenMP libraries in one process would spin on each other's cores."""
    from adapterworks.gateway.engines.cpu import cpu_environment

    library = cpu_environment()["LD_PRELOAD"] if preloaded else ""
    # Importing the kernel here has put this process's own number of threads into the environment.
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    ran = subprocess.run(
        [sys.executable, "-c", SHARED],
        env={**inherited, "LD_PRELOAD": library, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["2", "2", "0"]


def test_without_a_folder_for_the_cache_it_is_compiled_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A read-only container: Numba refuses to cache there, and the engine must start."""
    asked = []

    def njit(**options: object) -> Any:
        asked.append("cache" in options)
        if "cache" in options:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(few_rows, "njit", njit)
    assert few_rows._compiled(few_rows._add) is few_rows._add
    assert asked == [True, False]
