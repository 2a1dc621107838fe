"""The rules by which adapters are merged, under the names PEFT gives them (`combination_type`).

    cat                       all factors side by side: the weighted sum of the deltas, exactly
    svd                       the weighted sum of the deltas, cut at a rank
    linear                    A and B averaged each for itself: cheap, with cross terms B₁·A₂
    ties, dare_linear, …      TIES, DARE, magnitude pruning, on A and B each for itself
    ties_svd, …               the same on the deltas, as their papers define them, cut at a rank

TIES: Yadav et al. 2023 (arXiv 2306.01708); DARE: Yu et al. 2023 (arXiv 2311.03099); PEFT:
`LoraModel.add_weighted_adapter`, which calls `linear` "a very rough approximation".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DENSITY = 0.5
SEED = 42
_SVD = "_svd"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        space: what is combined: the deltas B·A, or the factors A and B each for itself; `rows` puts
            the factors side by side.
        function: in `peft.utils.merge_utils`.
        prunes: drops a share of the numbers (`density`).
        random: which ones is drawn (`seed`).
    """

    space: Literal["rows", "factors", "deltas"]
    function: str = "task_arithmetic"
    prunes: bool = False
    random: bool = False


_ON_FACTORS = {
    "linear": Rule("factors"),
    "ties": Rule("factors", "ties", prunes=True),
    "dare_linear": Rule("factors", "dare_linear", prunes=True, random=True),
    "dare_ties": Rule("factors", "dare_ties", prunes=True, random=True),
    "magnitude_prune": Rule("factors", "magnitude_prune", prunes=True),
}
RULES: dict[str, Rule] = {
    "cat": Rule("rows"),
    "svd": Rule("deltas"),
    **_ON_FACTORS,
    **{
        name + _SVD: Rule("deltas", rule.function, rule.prunes, rule.random)
        for name, rule in _ON_FACTORS.items()
        if rule.prunes
    },
}


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
        return RULES[self.method]
