"""The kernel for adapters with a few rows each, as in decoding: every weight is read once.

Such a step is bound by reading weights that no other row shares. BLAS, made for many rows, reads
them at two thirds of what a core can; this loop, compiled by Numba for the machine at hand, at
nearly all of it. A step of a small model calls it 120 times, and each time a product of the base
has just emptied the caches: so it takes a list of addresses, not arrays, and allocates nothing.

Invariant: `y += x·A·B` for the rows it is given, computed in float32 and rounded once; the result
does not depend on the number of threads, since a row is computed by one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

# Numba takes as many threads as this one may use cores, and vLLM has bound it to one.
os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))

import numba
from numba import carray, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

logger = logging.getLogger("vllm.adapterworks")

_MATHS = {"reassoc", "contract", "nsz"}
"""Sums in any order and fused, so that loops become vectors; infinities and NaN stay."""

LIKE = {torch.float32: np.float32(0), torch.bfloat16: np.uint16(0)}
"""The types it computes with, and how it sees them: of bfloat16, which NumPy lacks, the bits."""

A, B, RANKS, USED, OFFSETS, SLOTS, STARTS, ROWS, H, DELTA = range(10)
MEMBERS, BATCH, SLOT_COUNT, RANK, SLICES, IN, OUT = range(10, 17)
FIELDS = 17
"""Places in a job, int64 [17]. The first ten are addresses of contiguous memory:

- a, b: the weights, [SLOT_COUNT, RANK, SLICES, IN] and [SLOT_COUNT, RANK, OUT];
- ranks, used, offsets: as in `LayerWeights`;
- slots: of each of the MEMBERS its slot, int64;
- starts: where each member's part of `rows` begins, then the end, int64;
- rows: rows of the batch, all below BATCH, int64;
- h, delta: room, float32 [rows, RANK] and [rows, OUT].
"""

_WHOLE, _TRUTH, _SINGLE = np.int64(0), np.uint8(0), np.float32(0)


def _widen(value: Any) -> Any:
    """A weight or an activation in float32; bfloat16 is the upper half of a float32."""


def _narrow(value: Any, like: Any) -> Any:
    """A float32 as what `like` is, rounded to the nearest, ties to even."""


def _array(address: Any, shape: Any, like: Any) -> Any:
    """What lies at an address."""


@overload(_widen, inline="always", strict=False)
def _widen_typed(value: Any) -> Any:
    if isinstance(value, types.Float):
        return lambda value: value
    return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)


@overload(_narrow, inline="always", strict=False)
def _narrow_typed(value: Any, like: Any) -> Any:
    if isinstance(like, types.Float):
        return lambda value, like: value

    def rounded(value: Any, like: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        if value != value:
            return np.uint16(np.uint32(bits >> np.uint32(16)) | np.uint32(64))
        odd = np.uint32(bits >> np.uint32(16)) & np.uint32(1)
        return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return rounded


@intrinsic
def _pointer(context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@overload(_array, inline="always", strict=False)
def _array_typed(address: Any, shape: Any, like: Any) -> Any:
    dtype = numba.np.numpy_support.as_dtype(like).type
    return lambda address, shape, like: carray(_pointer(address), shape, dtype)


# In what follows, arrays are indexed down to their last dimension, which so is known to be
# contiguous: loops over views with other strides do not become vectors.


@njit(fastmath=_MATHS)
def _shrink(x: Any, rows: Any, span: Any, a: Any, slot: Any, s: Any, rank: Any, h: Any) -> None:
    """`h[span] = x[rows[span]]·A`, of one slice of a slot's adapter."""
    fours = rank - rank % 4  # four at once: a row is read a quarter as often
    for r in range(0, fours, 4):
        a0, a1, a2, a3 = a[slot, r, s], a[slot, r + 1, s], a[slot, r + 2, s], a[slot, r + 3, s]
        for k in range(*span):
            row = x[rows[k]]
            h0 = h1 = h2 = h3 = np.float32(0)
            for i in range(row.shape[0]):
                value = _widen(row[i])
                h0 += value * _widen(a0[i])
                h1 += value * _widen(a1[i])
                h2 += value * _widen(a2[i])
                h3 += value * _widen(a3[i])
            h[k, r], h[k, r + 1], h[k, r + 2], h[k, r + 3] = h0, h1, h2, h3
    for r in range(fours, rank):
        a0 = a[slot, r, s]
        for k in range(*span):
            row = x[rows[k]]
            h0 = np.float32(0)
            for i in range(row.shape[0]):
                h0 += _widen(row[i]) * _widen(a0[i])
            h[k, r] = h0


@njit(fastmath=_MATHS)
def _expand(h: Any, span: Any, b: Any, slot: Any, lo: Any, hi: Any, rank: Any, delta: Any) -> None:
    """`delta[span, lo:hi] = h[span]·B`, of one slice of a slot's adapter."""
    for k in range(*span):
        delta[k, lo:hi] = 0
    fours = rank - rank % 4
    for r in range(0, fours, 4):
        b0, b1 = b[slot, r, lo:hi], b[slot, r + 1, lo:hi]
        b2, b3 = b[slot, r + 2, lo:hi], b[slot, r + 3, lo:hi]
        for k in range(*span):
            row = delta[k, lo:hi]
            h0, h1, h2, h3 = h[k, r], h[k, r + 1], h[k, r + 2], h[k, r + 3]
            for i in range(row.shape[0]):
                low = h0 * _widen(b0[i]) + h1 * _widen(b1[i])
                row[i] += low + h2 * _widen(b2[i]) + h3 * _widen(b3[i])
    for r in range(fours, rank):
        b0 = b[slot, r, lo:hi]
        for k in range(*span):
            row, h0 = delta[k, lo:hi], h[k, r]
            for i in range(row.shape[0]):
                row[i] += h0 * _widen(b0[i])


def _add(job: Any, x_address: Any, y_address: Any, like: Any) -> None:
    """`y[rows] += x[rows]·A·B` in place, each member's rows with its own slot's adapter.

    Args:
        job: see `FIELDS`.
        x_address, y_address: of x [BATCH, IN] and y [BATCH, OUT], contiguous.
        like: of their type and the weights'; one of `LIKE`.
    """
    for member in prange(job[MEMBERS]):
        starts = _array(job[STARTS], (job[MEMBERS] + 1,), _WHOLE)
        span = starts[member], starts[member + 1]
        rows = _array(job[ROWS], (span[1],), _WHOLE)
        slot = _array(job[SLOTS], (job[MEMBERS],), _WHOLE)[member]
        rank = _array(job[RANKS], (job[SLOT_COUNT],), _WHOLE)[slot]
        used = _array(job[USED], (job[SLOT_COUNT], job[SLICES]), _TRUTH)
        offsets = _array(job[OFFSETS], (job[SLICES] + 1,), _WHOLE)
        a = _array(job[A], (job[SLOT_COUNT], job[RANK], job[SLICES], job[IN]), like)
        b = _array(job[B], (job[SLOT_COUNT], job[RANK], job[OUT]), like)
        x = _array(x_address, (job[BATCH], job[IN]), like)
        y = _array(y_address, (job[BATCH], job[OUT]), like)
        h = _array(job[H], (span[1], job[RANK]), _SINGLE)
        delta = _array(job[DELTA], (span[1], job[OUT]), _SINGLE)
        for s in range(job[SLICES] if rank > 0 else 0):
            if used[slot, s]:
                lo, hi = offsets[s], offsets[s + 1]
                _shrink(x, rows, span, a, slot, s, rank, h)
                _expand(h, span, b, slot, lo, hi, rank, delta)
                for k in range(*span):
                    row, result = delta[k, lo:hi], y[rows[k], lo:hi]
                    for i in range(row.shape[0]):
                        result[i] = _narrow(_widen(result[i]) + row[i], result[i])


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    options = {"fastmath": _MATHS, "nogil": True, "parallel": True}
    try:
        return njit(**options, cache=True)(function)
    except RuntimeError:  # no folder to keep it in: compiled anew in every process
        return njit(**options)(function)


add = _compiled(_add)


@cache
def compile_for(dtype: torch.dtype) -> None:
    """Compile, so that no request waits for it: some seconds, or none where it was done before."""
    logger.info("adapterworks: adapters with few rows on %d threads", use_threads())
    add(np.zeros(FIELDS, np.int64), 0, 0, LIKE[dtype])


def use_threads() -> int:
    """Let this thread's calls use as many threads as torch does; OpenMP's, which are the same ones.

    Returns:
        How many.
    """
    threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(threads)
    return threads
