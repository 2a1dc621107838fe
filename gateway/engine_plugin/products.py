"""The matrix products that add one layer's adapters to a batch.

Invariant: `y += x·A·B` for every row of every group, exactly the rows and ranks in use; rows of
the base model are not read or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from gateway.engine_plugin.grouping import Groups, Rows
from gateway.engine_plugin.weights import LayerWeights


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
        rank, slices = weights.ranks[slot], len(weights.b)
        self._a = weights.a[slot, :rank].flatten(0, 1).t()
        self._rows = rows if isinstance(rows, torch.Tensor) else None
        self._span = slice(None) if isinstance(rows, torch.Tensor) else slice(*rows)
        count = rows.shape[0] if isinstance(rows, torch.Tensor) else rows[1] - rows[0]
        self._h = scratch.take(weights.a, count, rank * slices)
        self._split = self._by_slice = self._h.unsqueeze(0)
        if slices > 1:
            self._split = self._h.view(count, rank, slices).permute(2, 0, 1)
            self._by_slice = scratch.take(weights.a, slices, count, rank)
        self._b = [
            (self._by_slice[i], weights.offsets[i], weights.sizes[i], weights.b[i][slot, :rank])
            for i in weights.used[slot]
        ]

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        rows = self._rows
        torch.mm(x[self._span] if rows is None else x.index_select(0, rows), self._a, out=self._h)
        if self._split is not self._by_slice:
            self._by_slice.copy_(self._split)
        for h, offset, size, b in self._b:
            if rows is None:
                y[self._span, offset : offset + size].addmm_(h, b)
            else:
                _add(y.narrow(1, offset, size), rows, torch.mm(h, b))


def _add(y: torch.Tensor, rows: torch.Tensor, delta: torch.Tensor) -> None:
    """`y[rows] += delta`: for the few rows of a decode step two to three times `index_add_`."""
    y.index_put_((rows,), delta, accumulate=True)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the rows of stacked members lie in the batch and in the stack.

    Attributes:
        gather: rows to take, `each` for every member (padded by repeating); None: just `lo:hi`.
        lo, hi: the span of rows.
        keep: the places in the stack that are not padding; None: all.
        rows: the rows that are kept, in the order of the stack; None: just `lo:hi`.
    """

    gather: torch.Tensor | None
    lo: int
    hi: int
    keep: torch.Tensor | None
    rows: torch.Tensor | None

    def add(self, y: torch.Tensor, delta: torch.Tensor) -> None:
        """Add a product over the stack, [count·each, n], to columns of the batch, [rows, n]."""
        if self.keep is not None:
            delta = delta.index_select(0, self.keep)
        if self.rows is None:
            y[self.lo : self.hi].add_(delta)
        else:
            _add(y, self.rows, delta)


class _Stacked:
    """Several adapters of one rank with a few rows each: one batched product for all of them.

    Slots with fewer rows than the fullest are padded with a repeated row whose result is dropped.
    """

    __slots__ = ("_a", "_b", "_by_slice", "_h", "_joint", "_layout", "_shape", "_split")

    def __init__(
        self,
        weights: LayerWeights,
        members: tuple[Rows, ...],
        rank: int,
        indices: _Indices,
        scratch: _Scratch,
    ) -> None:
        slots = tuple(m.slot for m in members)
        each, count, slices = max(len(m.rows) for m in members), len(slots), len(weights.b)
        self._shape = (count, each, weights.a.shape[-1])
        self._layout = indices.layout(members, each)
        stack = weights.stacked(slots, rank)
        self._a = stack.a
        self._h = scratch.take(weights.a, count, rank * slices, each)
        h = self._h.view(count, rank, slices, each)
        self._joint: tuple[torch.Tensor, torch.Tensor, tuple[int, int, int]] | None = None
        self._b: list[tuple[torch.Tensor, int, int, torch.Tensor]] = []
        if stack.joint is not None and 1 in (slices, each):
            # The result's rows are whole: one product for all slices, straight into y if in order.
            self._split = h.permute(0, 2, 3, 1)
            self._by_slice = scratch.take(weights.a, count, slices, each, rank)
            if slices == 1:  # one slice is what the product takes as it is, transposed
                self._by_slice = self._split
            shape = (count * slices, each, weights.sizes[0])
            self._joint = (self._by_slice.flatten(0, 1), stack.joint, shape)
        else:
            self._split = h.permute(2, 0, 3, 1)
            self._by_slice = scratch.take(weights.a, slices, count, each, rank)
            self._b = [
                (self._by_slice[i], weights.offsets[i], weights.sizes[i], stack.b[i])
                for i in range(slices)
                if any(i in weights.used[slot] for slot in slots)
            ]

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        to = self._layout
        x = x[to.lo : to.hi] if to.gather is None else x.index_select(0, to.gather)
        # A·xᵀ, not x·Aᵀ: with one row each it streams the weights twice as fast.
        torch.bmm(self._a, x.view(self._shape).transpose(1, 2), out=self._h)
        if self._split is not self._by_slice:
            self._by_slice.copy_(self._split)
        if self._joint is not None:
            h, b, shape = self._joint
            if to.gather is None:
                y[to.lo : to.hi].view(shape).baddbmm_(h, b)
            else:
                to.add(y, torch.bmm(h, b).view(-1, y.shape[1]))
        for h, offset, size, b in self._b:
            to.add(y.narrow(1, offset, size), torch.bmm(h, b).view(-1, size))


class _Scratch:
    """Intermediate results by shape, shared by all layers of a batch: nothing is allocated a layer.

    Invariant: a product has read what it wrote here before the next one runs.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[torch.dtype, tuple[int, ...]], torch.Tensor] = {}

    def take(self, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """Room of this shape, with the type and on the device of `like`."""
        key = (like.dtype, shape)
        if key not in self._made:
            self._made[key] = like.new_empty(shape)
        return self._made[key]


class _Indices:
    """Row numbers as tensors, made once per batch and shared by all layers."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = device
        self._rows: dict[Rows, torch.Tensor] = {}
        self._layouts: dict[tuple[Rows, ...], _Layout] = {}

    def _tensor(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)

    def of(self, member: Rows) -> torch.Tensor:
        """The member's rows, int64 [rows]."""
        if member not in self._rows:
            self._rows[member] = self._tensor(member.rows)
        return self._rows[member]

    def layout(self, members: tuple[Rows, ...], each: int) -> _Layout:
        """Where the members' rows lie, when stacked with `each` rows a member."""
        if members not in self._layouts:
            self._layouts[members] = self._make(members, each)
        return self._layouts[members]

    def _make(self, members: tuple[Rows, ...], each: int) -> _Layout:
        gather = [r for m in members for r in (*m.rows, *m.rows[:1] * (each - len(m.rows)))]
        keep = [k * each + j for k, m in enumerate(members) for j in range(len(m.rows))]
        rows = [row for m in members for row in m.rows]
        lo, hi = min(rows), max(rows) + 1
        span = list(range(lo, hi))
        return _Layout(
            gather=None if gather == span else self._tensor(gather),
            lo=lo,
            hi=hi,
            keep=None if len(keep) == len(gather) else self._tensor(keep),
            rows=None if rows == span else self._tensor(rows),
        )


class Batch:
    """One batch's groups, and for each layer the products they need, made at its first use.

    A batch lives as long as vLLM's mapping of rows to slots does: over many decode steps.
    """

    def __init__(self, groups: Groups, device: torch.device | str) -> None:
        self.groups = groups
        self._indices = _Indices(device)
        self._scratch = _Scratch()
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
                yield _OneSlot(weights, run.slot, (run.start, run.stop), self._scratch)
        for member in self.groups.scattered:
            if weights.ranks[member.slot]:
                yield _OneSlot(weights, member.slot, self._indices.of(member), self._scratch)
        by_rank: dict[int, list[Rows]] = {}
        for member in self.groups.few:
            if rank := weights.ranks[member.slot]:
                by_rank.setdefault(rank, []).append(member)
        for rank, members in by_rank.items():
            if len(members) == 1:
                rows = self._indices.of(members[0])
                yield _OneSlot(weights, members[0].slot, rows, self._scratch)
                continue
            if members[-1].slot - members[0].slot >= len(members):
                # Their weights must be copied together anyway: then in the order of the rows.
                members.sort(key=lambda m: m.rows)
            yield _Stacked(weights, tuple(members), rank, self._indices, self._scratch)
