"""Votes on disk, a line each: who judged which ballot how.

Invariant: a vote is on the disk when `cast` returns. A reviewer's last word on a ballot counts. On
which sides answers stand is settled for a reviewer by the first look, not by the first vote, and a
vote names what was shown: what it means does not depend on who voted before whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from adapterworks.builders.data.kept_lines import KeptLines, kept_lines
from adapterworks.builders.reviewing.ballots import TIE, Ballot, ballots
from adapterworks.builders.reviewing.review import Review
from adapterworks.manifests.errors import Conflict, InvalidInput
from adapterworks.manifests.refs import check_name

VOTES = "votes.jsonl"
_LOOKED = ""  # the ballot of a line that says that a reviewer was shown something


@dataclass(frozen=True, slots=True)
class Vote:
    """What one reviewer said of one ballot.

    Attributes:
        row: number of the row.
        of: whose answers were shown, the first one first (see `Ballot.of`).
        choice: one of the ballot's choices.
    """

    reviewer: str
    ballot: str
    row: int
    of: tuple[int, ...]
    choice: int


class Votes:
    """The votes of one review; made by `votes`."""

    def __init__(self, review: Review, lines: KeptLines, cast: list[Vote]) -> None:
        self._review, self._lines = review, lines
        self._cast = cast

    @property
    def all(self) -> list[Vote]:
        """The last word on each ballot of each reviewer, in the order of the first words."""
        said = [vote for vote in self._cast if vote.ballot != _LOOKED]
        last = {(vote.reviewer, vote.ballot): vote for vote in said}
        return list(last.values())

    def open(self, reviewer: str) -> list[Ballot]:
        """What a reviewer has not judged yet, in the reviewer's order."""
        shown = self._ballots(reviewer)
        done = {vote.ballot for vote in self._cast if vote.reviewer == reviewer}
        if not done:
            self._keep(Vote(reviewer, _LOOKED, 0, (), TIE))
        return [ballot for ballot in shown if ballot.name not in done]

    @property
    def unfinished(self) -> list[str]:
        """Reviewers who have judged something, and not yet everything."""
        return [name for name in dict.fromkeys(v.reviewer for v in self.all) if self.open(name)]

    def cast(self, reviewer: str, ballot: str, choice: int) -> Vote:
        """Keep a vote.

        Raises:
            InvalidInput: there is no such ballot, or it has no such choice.
        """
        known = {one.name: one for one in self._ballots(reviewer)}
        if ballot not in known:
            raise InvalidInput(
                f"`{ballot}` is nothing to be judged in `{self._review.name}`",
                hint=f"see what is: adapters review next {self._review.name} --reviewer {reviewer}",
            )
        found = known[ballot]
        if choice not in found.choices:
            raise InvalidInput(
                f"`{choice}` is no choice", hint=f"one of {', '.join(map(str, found.choices))}"
            )
        vote = Vote(reviewer, ballot, found.item.number, found.of, choice)
        self._keep(vote)
        return vote

    def _keep(self, vote: Vote) -> None:
        self._lines.add([json.dumps(asdict(vote)).encode()])
        self._cast.append(vote)

    def _ballots(self, reviewer: str) -> list[Ballot]:
        check_name(reviewer)
        begun = list(dict.fromkeys(vote.reviewer for vote in self._cast))
        number = begun.index(reviewer) if reviewer in begun else len(begun)
        return ballots(self._review, reviewer, number)


@contextmanager
def votes(folder: Path, review: Review) -> Iterator[Votes]:
    """Hold the votes of a review.

    Raises:
        Conflict: another process holds them.
    """
    cast: list[Vote] = []

    def take(line: bytes) -> bool:
        vote = _vote(line)
        if vote is not None:
            cast.append(vote)
        return vote is not None

    busy = Conflict(
        f"another process is writing votes of `{review.name}`", hint="wait until it has ended"
    )
    with kept_lines(folder / review.name / VOTES, take, busy) as lines:
        yield Votes(review, lines, cast)


def _vote(line: bytes) -> Vote | None:
    try:
        values = json.loads(line)
        return Vote(**{**values, "of": tuple(values["of"])})
    except (ValueError, KeyError, TypeError):
        return None
