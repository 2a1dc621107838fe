"""How a merge is to be made: its rule and the rule's options."""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.builders.merging.rules import RULES
from adapterworks.builders.merging.rules.rule import Rule

DENSITY = 0.5
SEED = 42


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to merge; what the rule does not use is None.

    Attributes:
        density: share of the numbers that pruning keeps.
        rank: at which the deltas are cut.
    """

    method: str
    density: float | None = None
    seed: int | None = None
    rank: int | None = None

    @property
    def rule(self) -> Rule:
        """The rule it names."""
        return RULES.named(self.method)
