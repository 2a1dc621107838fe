"""The most that a sampled answer can be worth, where its rewards say so.

Invariant: pure; it is a bound that is reached by answers that each reward finds perfect.
"""

from __future__ import annotations

from adapterworks.builders.objectives.policy_gradient import RolloutTable
from adapterworks.manifests.extensions import load
from adapterworks.manifests.graders import Multi, PythonGrader, ScoreModel
from adapterworks.manifests.judging import ALONE


def max_reward(table: RolloutTable) -> float | None:
    """All of a table's rewards at their best, added up as `rollouts.py` does.

    Returns:
        None where one of them gives any number: a release's, code's, a formula's, or a metric's
        that is no share.
    """
    if table.reward_release is not None:
        return None
    weights = table.reward_weights or (1.0,) * len(table.rewards)
    found = 0.0
    for name, weight in zip(table.rewards, weights, strict=True):
        if load("metrics", name).unit != "share":
            return None
        found += max(0.0, weight)
    for grader in table.graders:
        if isinstance(grader, PythonGrader | Multi):
            return None
        found += grader.range[1] if isinstance(grader, ScoreModel) else 1.0
    if table.judge is not None and table.judge.kind != ALONE:
        found += max(0.0, table.judge.weight)
    return found
