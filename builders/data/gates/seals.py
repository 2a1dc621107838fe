"""Sealed test sets: which rows were ever tested on, recognised without keeping a word of them.

A seal has the shingles of each test question as numbers (`gates/hashed.py`): a row that is the same
or almost the same is found however long ago the test set was made, and what the questions said
cannot be read from it. Shingles that are common among the test rows, or among the rows that are
looked at, are their template and no evidence where both have them, but count where one lacks them.

Invariant: a seal is a function of the questions, so equal test sets are one seal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapterworks.builders.data.gates.hashed import Documents, Numbers, common_shingles, within
from adapterworks.builders.data.gates.text import question_text, sealed_words
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.datasets.seal import MAGIC
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.http.datasets import open_datasets

WIDTH = 5  # as contamination is looked for
THRESHOLD = 0.8


@dataclass(frozen=True)
class Seal:
    """The test rows of one owner, in order; a question without a word has no shingles."""

    owner: str
    questions: tuple[Numbers, ...]


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


def sealed_here(registry: Registry, *, beside: Sequence[Row] = ()) -> tuple[Seal, ...]:
    """The seals of a registry.

    Args:
        beside: test rows that are left out, because they are judged by a gate of their own
            (`contamination`): those of the manifest whose rows are looked at.
    """
    datasets = open_datasets(registry)
    own = {document.tobytes() for document in questions(beside)}
    owners: dict[str, str] = {}
    for sealed in datasets.seals():
        owners.setdefault(sealed.blob, sealed.owner)
    seals = [read_seal(datasets.read(blob), owner) for blob, owner in owners.items()]
    empty = np.empty(0, np.uint64)
    return tuple(
        Seal(seal.owner, tuple(empty if q.tobytes() in own else q for q in seal.questions))
        for seal in seals
    )


def sealed_rows(rows: Sequence[Row], seals: Sequence[Seal], threshold: float) -> list[Match]:
    """The rows that were ever tested on, each with the test row that it is most like.

    Args:
        threshold: share of a test question's shingles (0–1).
    """
    asked = questions(rows)
    index = Index(seals, common_shingles(asked))
    found = []
    for position, document in enumerate(asked):
        best = index.best(document)
        if best is not None and best[0] >= threshold:
            share, seal, row = best
            found.append(Match(position, share, seals[seal].owner, row + 1))
    return found


class Index:
    """Telling shingle → the test rows that have it; and whole questions.

    Args:
        common: shingles that are a template's wherever they are.
    """

    def __init__(self, seals: Sequence[Seal], common: Numbers) -> None:
        self._seals = seals
        self._places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._whole: dict[bytes, tuple[int, int]] = {}
        for number, seal in enumerate(seals):
            template = np.union1d(common, common_shingles(seal.questions))
            for row, shingles in enumerate(seal.questions):
                if len(shingles):
                    self._whole.setdefault(shingles.tobytes(), (number, row))
                for shingle in shingles[~within(shingles, template)].tolist():
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
