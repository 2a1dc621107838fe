"""Scoring by the likeliest choice, by hand: likelihood per byte of the continuation alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapterworks.builders.data.render import IGNORED, Encoded
from adapterworks.builders.evaluation.suites.suite import Choice, multiple_choice


class Scripted:
    """A token a letter; every sequence costs what was written down for it."""

    def __init__(self, *costs: float) -> None:
        self.costs = costs
        self.asked: list[str] = []

    def tokenizer(self, texts: list[str]) -> dict[str, Any]:
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}

    def likelihood(self, rows: Sequence[Encoded], **_: Any) -> np.ndarray:
        for row in rows:
            self.asked.append("".join(chr(label) for label in row.labels if label != IGNORED))
        return np.array([[cost, 1.0] for cost in self.costs])


@pytest.mark.parametrize(
    ("costs", "right"),
    [
        # Bytes 2, 4 and 4, 2. Per byte 2 < 2.5 and 1 < 1.5: the first of each; right are 0 and 1.
        ((4.0, 10.0, 4.0, 3.0), [1.0, 0.0]),
        # Per byte 2 < 2.5 and 1.5 > 1: both are right. By the sum alone the second would not be.
        ((4.0, 10.0, 6.0, 2.0), [1.0, 1.0]),
        # Per byte 3 > 2.5, although 6 < 10; and 1 < 1.5: neither is.
        ((6.0, 10.0, 4.0, 3.0), [0.0, 0.0]),
    ],
)
def test_the_likeliest_by_byte_is_chosen(costs: tuple[float, ...], right: list[float]) -> None:
    choices = [Choice("ab ", ("cd", "cdef"), 0), Choice("ab ", ("éé", "xy"), 1)]
    model: Any = Scripted(*costs)
    assert multiple_choice(model, choices, None) == right
    assert model.asked == ["cd", "cdef", "éé", "xy"]
