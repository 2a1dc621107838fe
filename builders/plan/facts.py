"""What a plan sees of the rows: counts, lengths in tokens, digests; never a word of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANCHOR = "anchor"
"""The split of earlier rows, by which it is known what must not be forgotten (`train.anchor`)."""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The rows as the plan sees them: counts, lengths in tokens, digests.

    Attributes:
        rows: by split.
        digests: by split, of the rows in order.
        lengths: tokens of every training example, all its sequences together.
        supervised: tokens with a label, of every training example, at most.
        shared: tokens that all training sequences begin with, ahead of any label.
        sources: datasheets as JSON.
        encoded: by split, of the training sequences' token ids and labels (see `digests.Inputs`).
        asked: digest of the test rows with what metrics read of them.
        files: manifest key → digest of a further file that it names.
        sequences: how many sequences an example has.
        longest: tokens of the longest sequence.
    """

    rows: Mapping[str, int]
    digests: Mapping[str, str]
    lengths: tuple[int, ...]
    supervised: tuple[int, ...]
    shared: int = 0
    sources: tuple[Mapping[str, Any], ...] = ()
    encoded: Mapping[str, str] = field(default_factory=dict)
    asked: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    sequences: int = 1
    longest: int = 0

    @property
    def longest_sequence(self) -> int:
        """Tokens of the longest sequence; where that was not counted, examples are sequences."""
        return self.longest or max(self.lengths)
