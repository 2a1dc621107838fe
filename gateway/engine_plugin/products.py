"""The matrix products that add one layer's adapters to a batch.

Invariant: `y += x·A·B` for every row of every group, exactly the rows and ranks in use; rows of
the base model are not read or written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from gateway.engine_plugin.grouping import Groups, Rows
from gateway.engine_plugin.weights import LayerWeights


class Product(Protocol):
    """Adds one group's adapters: x [rows, in], y [rows, out], y changed in place."""

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None: ...


class _OneSlot:
    """One adapter over consecutive rows (in place) or over scattered ones (gathered, added)."""

    __slots__ = ("_a", "_b", "_count", "_rank", "_rows", "_slices", "_start", "_stop")

    def __init__(self, weights: LayerWeights, slot: int, rows: torch.Tensor | tuple[int, int]):
        rank, slices = weights.ranks[slot], len(weights.b)
        self._a = weights.a[slot, :rank].flatten(0, 1).t()
        self._b = [
            (i, weights.offsets[i], weights.sizes[i], weights.b[i][slot, :rank])
            for i in weights.used[slot]
        ]
        self._rank, self._slices = rank, slices
        self._rows: torch.Tensor | None = None
        self._start = self._stop = 0
        if isinstance(rows, torch.Tensor):
            self._rows, self._count = rows, rows.shape[0]
        else:
            self._start, self._stop = rows
            self._count = self._stop - self._start

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        rows = self._rows
        x = x[self._start : self._stop] if rows is None else x.index_select(0, rows)
        h = torch.mm(x, self._a)
        if self._slices > 1:
            # [rows, rank, slices] → [slices, rows, rank], so that each slice is one plain matrix.
            h = h.view(self._count, self._rank, self._slices).permute(2, 0, 1).contiguous()
        else:
            h = h.unsqueeze(0)
        for i, offset, size, b in self._b:
            if rows is None:
                y[self._start : self._stop, offset : offset + size].addmm_(h[i], b)
            else:
                y.narrow(1, offset, size).index_add_(0, rows, torch.mm(h[i], b))


class _Stacked:
    """Several adapters of one rank with a few rows each: one batched product for all of them.

    Slots with fewer rows than the fullest are padded with a repeated row whose result is dropped.
    """

    __slots__ = ("_a", "_b", "_each", "_gather", "_rank", "_rows", "_slices", "_slots", "_valid")

    def __init__(
        self, weights: LayerWeights, members: tuple[Rows, ...], rank: int, rows: _Indices
    ) -> None:
        slots = tuple(m.slot for m in members)
        self._each = max(len(m.rows) for m in members)
        self._rank, self._slices, self._slots = rank, len(weights.b), len(slots)
        a, b = weights.stacked(slots, rank)
        self._a = a.transpose(1, 2)
        self._b = [
            (i, weights.offsets[i], weights.sizes[i], b[i])
            for i in range(len(b))
            if any(i in weights.used[slot] for slot in slots)
        ]
        self._gather, self._rows, self._valid = rows.padded(members, self._each)

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        x = x.index_select(0, self._gather).view(self._slots, self._each, -1)
        h = torch.bmm(x, self._a)
        if self._slices > 1:
            h = h.view(self._slots, self._each, self._rank, self._slices)
            h = h.permute(3, 0, 1, 2).contiguous()
        else:
            h = h.unsqueeze(0)
        for i, offset, size, b in self._b:
            delta = torch.bmm(h[i], b).view(-1, size)
            if self._valid is not None:
                delta = delta.index_select(0, self._valid)
            y.narrow(1, offset, size).index_add_(0, self._rows, delta)


class _Indices:
    """Row numbers as tensors, made once per batch and shared by all layers."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = device
        self._rows: dict[Rows, torch.Tensor] = {}
        self._padded: dict[
            tuple[Rows, ...], tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]
        ] = {}

    def of(self, member: Rows) -> torch.Tensor:
        """The member's rows, int64 [rows]."""
        if member not in self._rows:
            self._rows[member] = torch.tensor(member.rows, device=self._device)
        return self._rows[member]

    def padded(
        self, members: tuple[Rows, ...], each: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Rows to gather (`each` a member), the distinct rows, and which gathered ones they are."""
        if members not in self._padded:
            gather = [r for m in members for r in (*m.rows, *m.rows[:1] * (each - len(m.rows)))]
            rows = [row for m in members for row in m.rows]
            valid = [k * each + j for k, m in enumerate(members) for j in range(len(m.rows))]
            self._padded[members] = (
                torch.tensor(gather, device=self._device),
                torch.tensor(rows, device=self._device),
                None if len(valid) == len(gather) else torch.tensor(valid, device=self._device),
            )
        return self._padded[members]


class Batch:
    """One batch's groups, and for each layer the products they need, made at its first use.

    A batch lives as long as vLLM's mapping of rows to slots does: over many decode steps.
    """

    def __init__(self, groups: Groups, device: torch.device | str) -> None:
        self.groups = groups
        self._indices = _Indices(device)
        self._made: dict[LayerWeights, tuple[int, list[Product]]] = {}

    def products(self, weights: LayerWeights) -> list[Product]:
        """The layer's products for this batch; made anew when one of its slots was written."""
        made = self._made.get(weights)
        if made is None or made[0] != weights.version:
            made = (weights.version, list(self._make(weights)))
            self._made[weights] = made
        return made[1]

    def _make(self, weights: LayerWeights) -> Iterator[Product]:
        for run in self.groups.runs:
            if weights.ranks[run.slot]:
                yield _OneSlot(weights, run.slot, (run.start, run.stop))
        for member in self.groups.scattered:
            if weights.ranks[member.slot]:
                yield _OneSlot(weights, member.slot, self._indices.of(member))
        by_rank: dict[int, list[Rows]] = {}
        for member in self.groups.few:
            if rank := weights.ranks[member.slot]:
                by_rank.setdefault(rank, []).append(member)
        for rank, members in by_rank.items():
            if len(members) == 1:
                yield _OneSlot(weights, members[0].slot, self._indices.of(members[0]))
            else:
                yield _Stacked(weights, tuple(members), rank, self._indices)
