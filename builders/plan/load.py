"""One micro batch, as what it takes of memory depends on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """One micro batch.

    Attributes:
        rows: number of rows.
        tokens: positions that are computed, padding with them.
        logits: positions whose logits are computed.
        prompts: how often a soft prompt stands in front: once a row, or once for all.
        mask: tokens of a row that has an attention mask of its own, else 0.
        masks: how many rows have one.
        accumulates: a step has several of it.
        taught: each token's distribution is compared with a teacher's.
    """

    rows: int
    tokens: int
    logits: int
    prompts: int
    mask: int = 0
    masks: int = 1
    accumulates: bool = False
    taught: bool = False
