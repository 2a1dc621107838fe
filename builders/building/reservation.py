"""What a build on this machine was promised of its memory, and how much of that it has taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterworks.builders.building import holding


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a build on this machine was promised, in bytes.

    Attributes:
        what: who is told of it knows the build by.
        process: that holds it, with the processes it starts.
        device: whose memory it is.
        size: of the promise; of GPUs, of each.
        before: what the process held already when it was made; of GPUs, nothing.
        cards: the GPUs, as CUDA calls them; empty: whichever there are.
    """

    what: str
    process: int
    device: str
    size: int
    before: int
    cards: Sequence[str] = ()

    @property
    def unused(self) -> int:
        """What of it is still to be taken of a CPU's memory; of GPUs, of the one with most left."""
        if self.device == "cpu":
            return max(0, self.size - max(0, holding.held_by(self.process) - self.before))
        held = holding.held_of_cards(self.process) if self.cards else {}
        return max((self.unused_of(card, held) for card in self.cards), default=self.size)

    def unused_of(self, card: str, held: Mapping[str, int]) -> int:
        """What of it is still to be taken of a GPU: all of it, where nobody says what is held.

        Args:
            held: what its process holds of each.
        """
        if self.cards and card not in self.cards:
            return 0
        taken = held.get(card, 0) if card else 0
        return max(0, self.size - taken)
