"""What tokens cost in money: a price for a million of them, in whatever currency it is said.

Invariant: sums are exact (decimal), so that a budget that is just enough is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

_A_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of prompts, and a million of answers, cost."""

    prompt: Decimal
    completion: Decimal

    def of(self, prompt: int, completion: int) -> Decimal:
        """What so many tokens of a prompt and of an answer cost."""
        return (self.prompt * prompt + self.completion * completion) / _A_MILLION


FREE = Price(Decimal(0), Decimal(0))
