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

from adapterworks.builders.data.journal import Journal, Take, open_journal, read_lines
from adapterworks.builders.reviewing.ballots import TIE, Ballot, ballots
from adapterworks.builders.reviewing.review import Review
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.manifests.refs import check_name
from adapterworks.registry.lifecycle.reviewed import REVIEW

VOTES = "votes.jsonl"
_WAIT_SECONDS = 10.0  # no vote takes longer to write
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
    """The votes of one review. Several people vote at the same time: the file is held while one
    vote is written, not while somebody thinks.

    Raises:
        Conflict: another process has held them for too long.
        IntegrityError: a line is none of a vote.
    """

    def __init__(self, folder: Path, review: Review) -> None:
        self.review = review
        self._path = folder / review.name / VOTES
        self._cast: list[Vote] = []
        read_lines(self._path, _taking(self._cast), self._busy(), wait=_WAIT_SECONDS)

    @property
    def all(self) -> list[Vote]:
        """The last word on each ballot of each reviewer, in the order of the first words: as it was
        when this was made, or when something was last written by it."""
        said = [vote for vote in self._cast if vote.ballot != _LOOKED]
        last = {(vote.reviewer, vote.ballot): vote for vote in said}
        return list(last.values())

    @property
    def looked(self) -> list[str]:
        """Everybody who was shown something or judged something, in the order in which they began;
        of when `all` is of."""
        return list(dict.fromkeys(vote.reviewer for vote in self._cast))

    def open(self, reviewer: str) -> list[Ballot]:
        """What a reviewer has not judged yet, in the reviewer's order.

        Raises:
            NotFound: the review was removed meanwhile.
        """
        check_name(reviewer)
        if reviewer not in self.looked:
            with self._held() as lines:
                if reviewer not in self.looked:
                    self._keep(lines, Vote(reviewer, _LOOKED, 0, (), TIE))
        done = {vote.ballot for vote in self._cast if vote.reviewer == reviewer}
        return [ballot for ballot in self._ballots(reviewer) if ballot.name not in done]

    @property
    def unfinished(self) -> list[str]:
        """Reviewers who have judged something, and not yet everything."""
        return [name for name in dict.fromkeys(v.reviewer for v in self.all) if self.open(name)]

    def cast(self, reviewer: str, ballot: str, choice: int) -> Vote:
        """Keep a vote.

        Raises:
            InvalidInput: there is no such ballot, or it has no such choice.
            NotFound: the review was removed meanwhile.
        """
        check_name(reviewer)
        with self._held() as lines:
            known = {one.name: one for one in self._ballots(reviewer)}
            if ballot not in known:
                raise InvalidInput(
                    f"`{ballot}` is nothing to be judged in `{self.review.name}`",
                    hint="see what is: "
                    f"adapters review next {self.review.name} --reviewer {reviewer}",
                )
            found = known[ballot]
            if choice not in found.choices:
                raise InvalidInput(
                    f"`{choice}` is no choice", hint=f"one of {', '.join(map(str, found.choices))}"
                )
            vote = Vote(reviewer, ballot, found.item.number, found.of, choice)
            self._keep(lines, vote)
        return vote

    @contextmanager
    def _held(self) -> Iterator[Journal]:
        """Hold the file, with what others have written by now."""
        if not self._path.with_name(REVIEW).is_file():
            raise NotFound(f"the review `{self.review.name}` was removed meanwhile")
        cast: list[Vote] = []
        with open_journal(self._path, _taking(cast), self._busy(), wait=_WAIT_SECONDS) as lines:
            self._cast = cast
            yield lines

    def _keep(self, lines: Journal, vote: Vote) -> None:
        lines.add([json.dumps(asdict(vote)).encode()])
        self._cast.append(vote)

    def _ballots(self, reviewer: str) -> list[Ballot]:
        begun = self.looked
        number = begun.index(reviewer) if reviewer in begun else len(begun)
        return ballots(self.review, reviewer, number)

    def _busy(self) -> Conflict:
        return Conflict(
            f"another process is writing votes of `{self.review.name}`",
            hint="wait until it has ended",
        )


def _taking(cast: list[Vote]) -> Take:
    def take(line: bytes) -> bool:
        try:
            values = json.loads(line)
            cast.append(Vote(**{**values, "of": tuple(values["of"])}))
        except (ValueError, KeyError, TypeError):
            return False
        return True

    return take
