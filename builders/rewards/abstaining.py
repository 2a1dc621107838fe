"""What somebody who may have no opinion is worth: an answer without one is neither pushed nor held.

Invariant: pure. What is left out of a group is worth what the others of the group got on average,
so that, compared within the group, it moves nothing; alone it is worth the middle of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence


def agreed(scores: Sequence[float | None], low: float, high: float) -> float | None:
    """The mean of what was said of one answer.

    Args:
        scores: one for each ask; None where nothing could be read.
        low: the least score there is.
        high: the highest.

    Returns:
        None where fewer than half of the asks were answered, or the answers are further apart than
        half of the scale: who contradicts himself has no opinion.
    """
    said = [score for score in scores if score is not None]
    if 2 * len(said) < len(scores) or not said or max(said) - min(said) > (high - low) / 2:
        return None
    return sum(said) / len(said)


def completed(group: Sequence[float | None], otherwise: float) -> list[float]:
    """A group's values, where there is none the mean of the others.

    Args:
        otherwise: where no answer of the group has a value, the middle of the scale.
    """
    known = [value for value in group if value is not None]
    mean = sum(known) / len(known) if known else otherwise
    return [mean if value is None else value for value in group]
