"""Votes → what people prefer, how surely, and how far they agree.

A reviewer's preference on a row is −1, 0 or 1; on a Likert scale the difference of the two marks
over 4. Their mean's interval counts each row as one draw, however many reviewers judged it.

Invariant: rows on which both releases say the same were shown to nobody, and count as a tie for
each reviewer, so that the result is about all rows that were drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adapterworks.builders.evaluation.statistics import mean_gain_interval
from adapterworks.builders.reviewing.ballots import TIE
from adapterworks.builders.reviewing.bradley_terry import Judged
from adapterworks.builders.reviewing.reliability import alpha
from adapterworks.builders.reviewing.review import Review
from adapterworks.builders.reviewing.votes import Vote
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.exchanges.agreement import kappa

_MARKS = 4  # between the lowest and the highest mark


@dataclass(frozen=True, slots=True)
class Agreed:
    """Two reviewers on the ballots that both have judged: Cohen's kappa, None if undefined."""

    first: str
    second: str
    ballots: int
    same: float
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        rows: that somebody has judged, and those with nothing to choose.
        same: of them, on which both releases say the same.
        preferred: 0–1: 1 where the reviewed release is always preferred, 0.5 where neither is.
        low, high: its interval at `confidence`.
        first_shown: how often the answer that stood first was chosen, of votes for either; None on
            a Likert scale, or without such a vote.
        alpha: Krippendorff's, of all reviewers; None where it is not defined.
    """

    reviewers: tuple[str, ...]
    rows: int
    same: int
    preferred: float
    low: float
    high: float
    confidence: float
    first_shown: float | None
    alpha: float | None
    agreed: tuple[Agreed, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def outcome(
    review: Review,
    cast: Sequence[Vote],
    confidence: float = 0.95,
    *,
    looked: Sequence[str] = (),
) -> Outcome:
    """What the votes come to.

    Args:
        looked: everybody who has begun, also where there was nothing to judge.

    Raises:
        InvalidInput: there is no row that somebody has judged.
    """
    preferences = preferences_of(review, cast, looked)
    if not preferences:
        raise InvalidInput(
            f"nobody has judged a row of `{review.name}` yet",
            hint=f"adapters review ask {review.name} --reviewer NAME",
        )
    rows, values = (np.array(column) for column in zip(*preferences, strict=True))
    groups = np.unique(rows, return_inverse=True)[1].astype(np.float64)
    bounds = mean_gain_interval(values.astype(np.float64), confidence, groups)
    votes = [vote for vote in cast if len(vote.of) == 2 and vote.choice != TIE]
    return Outcome(
        tuple(dict.fromkeys(vote.reviewer for vote in cast) or looked),
        len(set(rows.tolist())),
        sum(item.same for item in review.items),
        (float(values.mean()) + 1) / 2,
        max(0.0, (bounds.low + 1) / 2),
        min(1.0, (bounds.high + 1) / 2),
        confidence,
        sum(vote.choice == 1 for vote in votes) / len(votes) if votes else None,
        alpha(_said(cast).values(), interval=review.scale == "likert"),
        tuple(_agreed(cast, ordered=review.scale == "likert")),
    )


def preferences_of(
    review: Review, cast: Sequence[Vote], looked: Sequence[str] = ()
) -> list[tuple[int, float]]:
    """(row, −1–1) for each reviewer and row: above 0 where the reviewed release is preferred.

    Args:
        looked: as of `outcome`.
    """
    same = [item.number for item in review.items if item.same]
    if len(same) == len(review.items):  # nothing was to be chosen, and who looked has seen that
        return [(number, 0.0) for _ in looked for number in same]
    given: dict[tuple[str, int], dict[int, float]] = {}
    for vote in cast:
        marks = given.setdefault((vote.reviewer, vote.row), {})
        if len(vote.of) == 2:
            marks.update(dict.fromkeys(vote.of, 0.0))
            if vote.choice != TIE:
                marks[vote.of[vote.choice - 1]] = 1.0
        else:
            marks[vote.of[0]] = vote.choice / _MARKS
    found = [(row, marks[0] - marks[1]) for (_, row), marks in given.items() if len(marks) == 2]
    if found:
        # Rows with equal answers are ties of everybody: of a reviewer who has judged a part of the
        # others, the same part of them.
        shown = len(review.items) - len(same)
        judged_by = Counter(who for (who, _), marks in given.items() if len(marks) == 2)
        for count in judged_by.values():
            found += [(number, 0.0) for number in same[: round(len(same) * count / shown)]]
    return found


def judged(
    review: Review,
    cast: Sequence[Vote],
    places: dict[str, int],
    numbers: dict[str, int],
    looked: Sequence[str] = (),
) -> list[Judged]:
    """The preferences as comparisons of releases, for strengths over several reviews.

    Args:
        places: digest of a release → its number.
        numbers: digest of a question → number of its row, over all reviews: reviews of one adapter
            draw from the same test rows, and one row is one draw. New ones are added.
        looked: as of `outcome`.
    """
    first, second = places[review.reviewed.digest], places[review.against.digest]
    rows = {item.number: numbers.setdefault(item.question, len(numbers)) for item in review.items}
    return [
        Judged(first, second, (value + 1) / 2, rows[row])
        for row, value in preferences_of(review, cast, looked)
    ]


def _said(cast: Sequence[Vote]) -> dict[str, list[float]]:
    """Ballot → what was said of it, whatever side it stood on."""
    said: dict[str, list[float]] = {}
    for vote in cast:
        said.setdefault(vote.ballot, []).append(_meant(vote))
    return said


def _meant(vote: Vote) -> float:
    """A choice by what it is of, not by where it stood: 0 tie, 1 reviewed, 2 against; or a mark."""
    if len(vote.of) == 1 or vote.choice == TIE:
        return float(vote.choice)
    return float(1 + vote.of[vote.choice - 1])


def _agreed(cast: Sequence[Vote], *, ordered: bool) -> list[Agreed]:
    by: dict[str, dict[str, float]] = {}
    for vote in cast:
        by.setdefault(vote.reviewer, {})[vote.ballot] = _meant(vote)
    names = sorted(by)
    found = []
    for first, second in ((a, b) for at, a in enumerate(names) for b in names[at + 1 :]):
        both = sorted(by[first].keys() & by[second].keys())
        if both:
            ours, theirs = [by[first][one] for one in both], [by[second][one] for one in both]
            same = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(both)
            value = kappa(ours, theirs, ordered=ordered)
            found.append(Agreed(first, second, len(both), same, value[0] if value else None))
    return found
