"""What one reviewer is shown: answers without names, in an order and on sides of their own. Pure.

Invariant: whose answer stands first depends on the row and on the reviewer's number, and turns
over from one reviewer to the next: what a place on the page gives, two reviewers take back.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.builders.data.draws import generator
from adapterworks.builders.reviewing.review import Item, Review

TIE = 0
LIKERT = range(1, 6)


@dataclass(frozen=True, slots=True)
class Ballot:
    """One thing to be judged.

    Attributes:
        name: what a vote names: the row, and on a Likert scale which of its answers.
        answers: as they are shown, the first one first.
        of: 0 for an answer of the reviewed release, 1 for one of the other; never shown.
    """

    name: str
    item: Item
    answers: tuple[str, ...]
    of: tuple[int, ...]

    @property
    def choices(self) -> tuple[int, ...]:
        """What may be said: the place of the better answer, or 0 for none; or 1 to 5."""
        return (1, 2, TIE) if len(self.answers) == 2 else tuple(LIKERT)


def ballots(review: Review, reviewer: str, number: int) -> list[Ballot]:
    """All ballots of one reviewer, in the order in which they are shown.

    Rows on which both releases say the same are not shown.

    Args:
        number: of the reviewer, from 0, in the order in which they began.
    """
    made = [
        ballot
        for item in review.items
        if not item.same
        for ballot in (
            [_pair(review, item, number)] if review.scale == "pairwise" else _single(item)
        )
    ]
    order = generator(review.seed, review.name, reviewer).permutation(len(made))
    return [made[at] for at in order]


def _pair(review: Review, item: Item, number: int) -> Ballot:
    coin = int(generator(review.seed, review.name, str(item.number)).integers(2))
    first = (coin + number) % 2
    of = (first, 1 - first)
    return Ballot(str(item.number), item, tuple(item.answers[side] for side in of), of)


def _single(item: Item) -> list[Ballot]:
    names = (f"{item.number}a", f"{item.number}b")
    return [Ballot(names[of], item, (item.answers[of],), (of,)) for of in (0, 1)]
