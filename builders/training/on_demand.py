"""Examples of a split that are made when they are asked for, and held by nobody."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from adapterworks.builders.objectives.batch import TokenSequence


class OnDemand(Sequence[tuple[TokenSequence, ...]]):
    """A sequence of examples; a kind of it says how many there are, how long, and what one is."""

    @abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each example, without making it."""

    @abstractmethod
    def example(self, index: int) -> tuple[TokenSequence, ...]:
        """The sequences of one.

        Args:
            index: from 0 to below the number of examples.
        """

    @overload
    def __getitem__(self, index: int) -> tuple[TokenSequence, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[TokenSequence, ...]]: ...
    def __getitem__(
        self, index: int | slice
    ) -> tuple[TokenSequence, ...] | list[tuple[TokenSequence, ...]]:
        if isinstance(index, slice):
            return [self.example(at) for at in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.example(index % len(self))
