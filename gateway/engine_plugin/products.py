"""The matrix products that add one layer's adapters to a batch.

Invariant: `y += x·A·B` for every row of every group, exactly the rows and ranks in use; rows of
the base model are not read or written.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch

from adapterworks.gateway.engine_plugin import few_rows
from adapterworks.gateway.engine_plugin.grouping import Groups, Rows
from adapterworks.gateway.engine_plugin.weights import LayerWeights


class Product(Protocol):
    """Adds one group's adapters: x [rows, in], y [rows, out], y changed in place."""

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None: ...


class _OneSlot:
    """One adapter over consecutive rows (in place) or over scattered ones (gathered, added)."""

    __slots__ = ("_a", "_b", "_by_slice", "_h", "_rows", "_span", "_split")

    def __init__(
        self,
        weights: LayerWeights,
        slot: int,
        rows: torch.Tensor | tuple[int, int],
        scratch: _Scratch,
    ) -> None:
        rank, slices = int(weights.ranks[slot]), len(weights.slices)
        self._a = weights.a[slot, :rank].flatten(0, 1).t()
        self._rows = rows if isinstance(rows, torch.Tensor) else None
        self._span = slice(None) if isinstance(rows, torch.Tensor) else slice(*rows)
        count = rows.shape[0] if isinstance(rows, torch.Tensor) else rows[1] - rows[0]
        dtype = weights.a.dtype
        self._h = scratch.take(dtype, count, rank * slices)
        self._split = self._by_slice = self._h.unsqueeze(0)
        if slices > 1:
            self._split = self._h.view(count, rank, slices).permute(2, 0, 1)
            self._by_slice = scratch.take(dtype, slices, count, rank)
        self._b = [
            (self._by_slice[i], columns, weights.b[slot, :rank, columns])
            for i, columns in enumerate(weights.slices)
            if weights.used[slot, i]
        ]

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        rows = self._rows
        torch.mm(x[self._span] if rows is None else x.index_select(0, rows), self._a, out=self._h)
        if self._split is not self._by_slice:
            self._by_slice.copy_(self._split)
        for h, columns, b in self._b:
            if rows is None:
                y[self._span, columns].addmm_(h, b)
            else:
                y[:, columns].index_put_((rows,), torch.mm(h, b), accumulate=True)


class _Few:
    """Several adapters with a few rows each, at once: `few_rows`."""

    __slots__ = ("_alive", "_job", "_least", "_like")

    def __init__(self, weights: LayerWeights, members: _Members, scratch: _Scratch) -> None:
        (slots, rank, slices, width), out = weights.a.shape, weights.b.shape[2]
        count = len(members.rows)
        h = scratch.take(torch.float32, count, rank)
        delta = scratch.take(torch.float32, count, out)
        arrays = (
            *(weights.ranks, weights.used, weights.offsets),
            *(members.slots, members.starts, members.rows),
        )
        job = np.zeros(few_rows.FIELDS, np.int64)
        job[few_rows.A], job[few_rows.B] = weights.a.data_ptr(), weights.b.data_ptr()
        job[few_rows.RANKS : few_rows.ROWS + 1] = [array.ctypes.data for array in arrays]
        job[few_rows.H], job[few_rows.DELTA] = h.data_ptr(), delta.data_ptr()
        job[few_rows.MEMBERS :] = (
            *(len(members.slots), members.rows.max() + 1),
            *(slots, rank, slices, width, out),
        )
        self._job, self._like = job, few_rows.LIKE[weights.a.dtype]
        self._least = int(job[few_rows.BATCH])
        self._alive = (weights, members, h, delta)  # what the job has the addresses of

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        if x.size(0) < self._least or y.size(0) < self._least:  # the kernel checks no bounds
            raise IndexError(f"{x.size(0)} rows, where adapters have {self._least}")
        few_rows.add(self._job, x.data_ptr(), y.data_ptr(), self._like)


class _Members:
    """Adapters and their rows, as the kernel takes them: one thread's work each.

    Rows are divided into no larger pieces than there are threads for.
    """

    def __init__(self, members: tuple[Rows, ...], threads: int) -> None:
        total = sum(len(m.rows) for m in members)
        most = max(1, -(-total // threads))
        pieces = [
            (m.slot, m.rows[k : k + most]) for m in members for k in range(0, len(m.rows), most)
        ]
        self.slots = np.array([slot for slot, _ in pieces], np.int64)
        self.starts = np.array([0, *accumulate(len(rows) for _, rows in pieces)], np.int64)
        self.rows = np.array([row for _, rows in pieces for row in rows], np.int64)


class _Scratch:
    """Intermediate results by shape, shared by all layers of a batch: nothing is allocated a layer.

    Invariant: a product has read what it wrote here before the next one runs.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = device
        self._made: dict[tuple[torch.dtype, tuple[int, ...]], torch.Tensor] = {}

    def take(self, dtype: torch.dtype, *shape: int) -> torch.Tensor:
        """Room of this type and shape."""
        key = (dtype, shape)
        if key not in self._made:
            self._made[key] = torch.empty(shape, dtype=dtype, device=self._device)
        return self._made[key]


class Batch:
    """One batch's groups, ready to make the products that a layer needs for them.

    A batch lives as long as vLLM's mapping of rows to slots does: over many decode steps.
    """

    def __init__(self, groups: Groups, device: torch.device | str) -> None:
        self._groups = groups
        self._rows = {
            member: torch.tensor(member.rows, dtype=torch.long, device=device)
            for member in (*groups.scattered, *groups.few)
        }
        self._members = _Members(groups.few, few_rows.use_threads())
        self._scratch = _Scratch(device)

    def products(self, weights: LayerWeights) -> Iterator[Product]:
        """What a layer with these weights must do, as long as no slot of it changes."""
        for run in self._groups.runs:
            if weights.ranks[run.slot]:
                yield _OneSlot(weights, run.slot, (run.start, run.stop), self._scratch)
        alone = list(self._groups.scattered)
        if weights.a.dtype not in few_rows.LIKE:
            alone += self._groups.few
        elif weights.ranks[self._members.slots].any():
            yield _Few(weights, self._members, self._scratch)
        for member in alone:
            if weights.ranks[member.slot]:
                yield _OneSlot(weights, member.slot, self._rows[member], self._scratch)
