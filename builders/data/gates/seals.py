"""Sealed test sets: which rows were ever tested on, recognised without keeping a word of them.

A seal has the shingles of each test question as numbers (`gates/hashed.py`): a row that is the same
or almost the same is found however long ago the test set was made, and what the questions said
cannot be read from it. Shingles that are common among the test rows, or among the rows that are
looked at, are their template and no evidence where both have them, but count where one lacks them
(near-copies of one test question are no template: `copies.py`).

Invariant: a seal is a function of the questions, so equal test sets are one seal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.copies import near_copies
from adapterworks.builders.data.gates.hashed import (
    NO_TEMPLATE,
    Documents,
    Numbers,
    Template,
    template_of,
    within,
)
from adapterworks.builders.data.gates.text import question_text, sealed_words
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import IntegrityError
from adapterworks.manifests.sources import DATASET
from adapterworks.registry.datasets.seal import MAGIC
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.http.datasets import open_datasets

WIDTH = 5  # as contamination is looked for
THRESHOLD = 0.8


@dataclass(frozen=True)
class Seal:
    """The test rows of one owner, in order; a question without a word has no shingles.

    Attributes:
        same: the 0-based numbers of those that only the very same question is a match of.
    """

    owner: str
    questions: tuple[Numbers, ...]
    same: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Match:
    """A row that is in a sealed test set.

    Attributes:
        index: of the row that was looked at.
        share: of the test question's shingles that the row has; 1 where they are the same.
        owner: whose test set it is.
        row: the test row's 1-based number in it.
    """

    index: int
    share: float
    owner: str
    row: int

    def __str__(self) -> str:
        return f"{self.share:.0%} of test row {self.row} of `{self.owner}` is in its question"


def questions(rows: Sequence[Row]) -> Documents:
    """What rows are compared by."""
    return Documents(len(rows), lambda index: question_text(rows[index]), WIDTH, sealed_words)


def make_seal(rows: Sequence[Row]) -> bytes:
    """The bytes of a seal: how many rows, how many shingles each has, the shingles."""
    found = [*questions(rows)]
    counts = np.array([len(shingles) for shingles in found], dtype="<u4")
    shingles = np.concatenate([np.empty(0, np.uint64), *found]).astype("<u8")
    return MAGIC + len(found).to_bytes(8, "little") + counts.tobytes() + shingles.tobytes()


def read_seal(data: bytes, owner: str) -> Seal:
    """The seal that `make_seal` wrote.

    Raises:
        IntegrityError: it is something else.
    """
    start = len(MAGIC) + 8
    count = int.from_bytes(data[len(MAGIC) : start], "little")
    if not data.startswith(MAGIC) or len(data) < start + 4 * count:
        raise IntegrityError(f"the seal of `{owner}` cannot be read")
    counts = np.frombuffer(data, "<u4", count, start)
    shingles = np.frombuffer(data, "<u8", offset=start + 4 * count).astype(np.uint64)
    if int(counts.sum()) != len(shingles):
        raise IntegrityError(f"the seal of `{owner}` cannot be read")
    return Seal(owner, tuple(np.split(shingles, np.cumsum(counts)[:-1])))


def sealed_here(
    registry: Registry, *, beside: Sequence[Row] = (), as_of: AsOf = NOW
) -> tuple[Seal, ...]:
    """The seals of a registry.

    Args:
        beside: the test rows of the manifest whose rows are looked at. Almost the same question as
            one of these is judged by a gate of its own (`contamination`), unless a dataset has
            sealed it; the very same one never is.
        as_of: the seals of another time.
    """
    datasets = open_datasets(registry)
    own = {document.tobytes() for document in questions(beside)}
    owners: dict[str, list[str]] = {}
    for sealed in datasets.seals():
        if as_of.until is None or sealed.at <= as_of.until:
            owners.setdefault(sealed.blob, []).append(sealed.owner)
    found = []
    for blob, names in owners.items():
        of_dataset = next((name for name in names if name.startswith(DATASET)), None)
        seal = read_seal(datasets.read(blob), of_dataset or names[0])
        if own and of_dataset is None:
            asked = (at for at, q in enumerate(seal.questions) if q.tobytes() in own)
            seal = replace(seal, same=frozenset(asked))
        found.append(seal)
    return tuple(found)


def seal_of(rows: Sequence[Row], owner: str) -> Seal:
    """The seal that rows would have."""
    return Seal(owner, tuple(questions(rows)))


def sealed_rows(rows: Sequence[Row], seals: Sequence[Seal], threshold: float) -> list[Match]:
    """The rows that were ever tested on, each with the test row that it is most like.

    Args:
        threshold: share of a test question's shingles (0–1).
    """
    asked = questions(rows)
    template = template_of(asked)
    index = Index(seals, template)
    best: dict[int, tuple[float, int, int]] = {}
    for position, document in enumerate(asked):
        likest = index.best(document)
        if likest is not None and likest[0] >= threshold:
            best[position] = likest
    for number, seal in enumerate(seals):
        near = [*seal.questions]
        for row in seal.same:
            near[row] = near[row][:0]
        for copy in near_copies(asked, near, template, threshold):
            likest = (copy.share, number, copy.question)
            if (known := best.get(copy.document)) is None or known[0] < copy.share:
                best[copy.document] = likest
    return [
        Match(position, share, seals[seal].owner, row + 1)
        for position, (share, seal, row) in sorted(best.items())
    ]


class Index:
    """Telling shingle → the test rows that have it; and whole questions.

    Args:
        template: of the rows that are looked at; none, where what is said of a row must not depend
            on the rows beside it.
    """

    def __init__(self, seals: Sequence[Seal], template: Template = NO_TEMPLATE) -> None:
        self._seals = seals
        self._places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._whole: dict[bytes, tuple[int, int]] = {}
        for number, seal in enumerate(seals):
            both = template.joined(template_of(seal.questions))
            for row, shingles in enumerate(seal.questions):
                if len(shingles):
                    self._whole.setdefault(shingles.tobytes(), (number, row))
                if row in seal.same:
                    continue
                for shingle in shingles[~within(shingles, both.common)].tolist():
                    self._places[shingle].append((number, row))
        self._telling = np.array(sorted(self._places), dtype=np.uint64)

    def best(self, document: Numbers) -> tuple[float, int, int] | None:
        """Share, seal and row of the likest test row; None if no shingle tells of one."""
        if (whole := self._whole.get(document.tobytes())) is not None:
            return (1.0, *whole)
        hits: Counter[tuple[int, int]] = Counter()
        for shingle in document[within(document, self._telling)].tolist():
            hits.update(self._places[shingle])
        shares = (
            (count / (count + self._missing(place, document)), -place[0], -place[1])
            for place, count in hits.items()
        )
        share, seal, row = max(shares, default=(0.0, 0, 0))
        return (share, -seal, -row) if share else None

    def _missing(self, place: tuple[int, int], document: Numbers) -> int:
        """Shingles of a test row that a document does not have."""
        shingles = self._seals[place[0]].questions[place[1]]
        return int((~within(shingles, document)).sum())
