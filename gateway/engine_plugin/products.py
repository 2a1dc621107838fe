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


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the rows of stacked members lie in the batch and in the stack.

    Attributes:
        gather: rows to take, `each` for every member (padded by repeating); None: just `lo:hi`.
        lo, hi: the span of rows.
        pick: for each row of the span its place in the stack; None: in order, nothing to drop.
        rows: the rows and `pick`'s counterpart for them, when the span has rows of others too.
    """

    gather: torch.Tensor | None
    lo: int
    hi: int
    pick: torch.Tensor | None
    rows: torch.Tensor | None


class _Stacked:
    """Several adapters of one rank with a few rows each: one batched product for all of them.

    Slots with fewer rows than the fullest are padded with a repeated row whose result is dropped.
    """

    __slots__ = ("_a", "_b", "_each", "_layout", "_rank", "_slices", "_slots")

    def __init__(
        self, weights: LayerWeights, members: tuple[Rows, ...], rank: int, indices: _Indices
    ) -> None:
        slots = tuple(m.slot for m in members)
        self._each = max(len(m.rows) for m in members)
        self._rank, self._slices, self._slots = rank, len(weights.b), len(slots)
        self._a, b = weights.stacked(slots, rank)
        self._b = [
            (i, weights.offsets[i], weights.sizes[i], b[i])
            for i in range(len(b))
            if any(i in weights.used[slot] for slot in slots)
        ]
        self._layout = indices.layout(members, self._each)

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        to = self._layout
        x = x[to.lo : to.hi] if to.gather is None else x.index_select(0, to.gather)
        # A·xᵀ, not x·Aᵀ: with one row each it streams the weights twice as fast.
        h = torch.bmm(self._a, x.view(self._slots, self._each, -1).transpose(1, 2))
        h = h.view(self._slots, self._rank, self._slices, self._each)
        h = h.permute(2, 0, 3, 1).contiguous()
        for i, offset, size, b in self._b:
            delta = torch.bmm(h[i], b).view(-1, size)
            if to.pick is not None:
                delta = delta.index_select(0, to.pick)
            if to.rows is None:
                y[to.lo : to.hi, offset : offset + size].add_(delta)
            else:
                y.narrow(1, offset, size).index_add_(0, to.rows, delta)


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
        place = {row: k * each + j for k, m in enumerate(members) for j, row in enumerate(m.rows)}
        rows = sorted(place)
        lo, hi = rows[0], rows[-1] + 1
        alone = len(rows) == hi - lo
        in_order = alone and gather == rows
        pick = [place[row] for row in rows]
        return _Layout(
            gather=None if in_order else self._tensor(gather),
            lo=lo,
            hi=hi,
            pick=None if pick == list(range(len(gather))) else self._tensor(pick),
            rows=None if alone else self._tensor(rows),
        )


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
                continue
            if members[-1].slot - members[0].slot >= len(members):
                # Their weights must be copied together anyway: then in the order of the rows.
                members.sort(key=lambda m: m.rows)
            yield _Stacked(weights, tuple(members), rank, self._indices)
