"""A model whose loss and gradient fit in a line of NumPy, and rows of unequal numbers of labels.

The model says of every token what follows it, by one row of a table: log-softmax(table[token]).
So the gradient of −log p(next | token) is softmax(table[token]) − onehot(next), in that row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.training.batches import EncodedSet

TOKENS = 7
# Tokens, and from where on they are learnt: 1, 4, 2, 7 and 1 labels. A mean of the rows' means, or
# of two micro batches' means, is another number than the mean over all 15.
ROWS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((0, 3, 5), 2),
    ((0, 2, 4, 6, 1, 3), 2),
    ((0, 1, 2, 2), 2),
    ((0, 6, 5, 4, 3, 2, 1, 1), 1),
    ((0, 3, 4, 1), 3),
)
LABELS = (1, 4, 2, 7, 1)


class Bigram(nn.Module):
    """The table, with dropout on its rows if asked for; remembers what it was given."""

    def __init__(self, dropout: float = 0.0, seed: int = 1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(TOKENS, TOKENS, generator=generator))
        self.dropout = nn.Dropout(dropout)
        self.seen: list[dict[str, Any]] = []

    def forward(self, input_ids: torch.Tensor, logits_to_keep: torch.Tensor, **inputs: Any) -> Any:
        self.seen.append({"input_ids": input_ids, "training": self.training, **inputs})
        self.seen[-1] |= {"gradient": torch.is_grad_enabled(), "kept": logits_to_keep}
        return SimpleNamespace(logits=self.dropout(self.table[input_ids])[:, logits_to_keep])


def encoded(rows: Iterable[tuple[Sequence[int], int]] = ROWS) -> list[Encoded]:
    """The rows as they are before they are tensors."""
    return [
        Encoded([*ids], [-100] * start + [*ids[start:]], number)
        for number, (ids, start) in enumerate(rows)
    ]


def examples(rows: Iterable[tuple[Sequence[int], int]] = ROWS) -> list[Example]:
    """An example a row, which counts its labels."""
    return [
        Example((row,), float(len(row.labels) - row.labels.count(-100))) for row in encoded(rows)
    ]


def encoded_set(rows: Iterable[tuple[Sequence[int], int]] = ROWS) -> EncodedSet:
    """The same as tensors."""
    made = examples(rows)
    return EncodedSet(
        tuple(
            (TokenSequence(torch.tensor(row.input_ids), torch.tensor(row.labels)),)
            for example in made
            for row in example.sequences
        ),
        tuple(example.count for example in made),
    )


def table_of(model: nn.Module) -> np.ndarray:
    """The table as float64."""
    return next(model.parameters()).detach().double().numpy().copy()


def nats_and_gradient(
    table: np.ndarray, indices: Iterable[int], rows: Sequence[tuple[Sequence[int], int]] = ROWS
) -> tuple[float, np.ndarray]:
    """Summed −log p of every label of some rows, and its gradient; divided by nothing."""
    nats, gradient = 0.0, np.zeros_like(table)
    for index in indices:
        ids, start = rows[index]
        for before, after in zip(ids[start - 1 :], ids[start:], strict=False):
            p = np.exp(table[before]) / np.exp(table[before]).sum()
            nats -= np.log(p[after])
            gradient[before] += p - np.eye(TOKENS)[after]
    return float(nats), gradient


@dataclass
class Processes:
    """What the loop asks of `accelerate`, for one of several processes, with nothing behind it.

    A sum over all processes is this one's own times their number.

    Attributes:
        backwards: the losses of which gradients were taken.
        reduced: of what sums over all were taken.
    """

    num_processes: int = 1
    process_index: int = 0
    is_main_process: bool = True
    scaler: Any = None
    device: str = "cpu"
    backwards: list[float] = field(default_factory=list)
    reduced: list[float] = field(default_factory=list)
    waits: int = 0
    waiting: list[bool] = field(default_factory=list)
    distributed_type: str = "NO"

    @contextmanager
    def no_sync(self, model: nn.Module) -> Iterator[None]:
        self.waiting.append(True)
        yield

    def backward(self, loss: torch.Tensor) -> None:
        self.backwards.append(float(loss.detach()))
        loss.backward()

    def clip_grad_norm_(self, parameters: Sequence[nn.Parameter], norm: float) -> torch.Tensor:
        return nn.utils.clip_grad_norm_(parameters, norm)

    def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "sum"
        self.reduced.append(float(tensor))
        return tensor * self.num_processes

    def wait_for_everyone(self) -> None:
        self.waits += 1
