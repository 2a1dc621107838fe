"""Near-copies of test questions, which hide each other from who looks for telling shingles.

What more than 5 documents and 1 % of them share is taken for their template (`hashed.py`), and no
evidence. Six ways to put one test question share nearly all of it, so that none of them would tell
of it. Here what is like a question is looked at together. A template's documents have a place
where each says its own: shingles of the question that nearly all lack, 2 of them at least,
for a word at the end. Near-copies differ here and there, or at an edge. What a fifth of all
documents is like is a template in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.data.gates.hashed import Numbers, Template, within
from adapterworks.builders.data.gates.text import COMMON_ROWS, RULING_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterable

_BATCH = 2048
_ALIKE = 0.5  # share of a question's shingles from which documents are looked at together
_SLOT = 2  # shingles that a word at the end of a text is in


@dataclass(frozen=True, slots=True)
class Copy:
    """A document that is nearly a question.

    Attributes:
        document, question: their positions.
        share: of the question's shingles that the document has.
    """

    document: int
    question: int
    share: float


def near_copies(
    documents: Iterable[Numbers],
    asked: Sequence[Numbers],
    template: Template,
    threshold: float,
) -> Iterator[Copy]:
    """The documents that are nearly a question which is none of a template.

    Args:
        template: of the documents.
        threshold: share of a question's shingles (0–1).
    """
    judged = [
        at
        for at, question in enumerate(asked)
        if len(question)
        and within(question, template.common).any()
        and within(question, template.ruling).mean() < threshold
    ]
    if not judged:
        return
    kept = [asked[at] for at in judged]
    # Questions that are a template's by the test set itself.
    own = _alike(kept, kept, threshold)
    kept_at = [at for at in range(len(kept)) if at not in own.templates]
    if not kept_at:
        return
    found = _alike(documents, [kept[at] for at in kept_at], threshold)
    for question, document, share in found.pairs:
        if question not in found.templates and found.copies[question] > COMMON_ROWS:
            yield Copy(document, judged[kept_at[question]], share)


@dataclass
class _Alike:
    """What documents are nearly questions: (question, document, share); how many different ones are
    like a question; the questions that are a template's."""

    pairs: list[tuple[int, int, float]]
    copies: Any
    templates: set[int]


def _alike(documents: Iterable[Numbers], asked: Sequence[Numbers], threshold: float) -> _Alike:
    from scipy.sparse import csr_array

    words = np.unique(np.concatenate(asked))
    wanted = _matrix(asked, words)
    sizes = np.array([len(question) for question in asked])
    had = csr_array(wanted.shape, dtype=np.int32)
    copies = np.zeros(len(asked), dtype=np.int64)
    pairs: list[tuple[int, int, float]] = []
    distinct = 0
    for batch, places in _distinct(documents):
        distinct += len(batch)
        there = _matrix(batch, words)
        shares = (wanted @ there.T).tocoo()
        share = shares.data / sizes[shares.row]
        near = share >= min(threshold, _ALIKE)
        row, column, share = shares.row[near], shares.col[near], share[near]
        if not len(row):
            continue
        copies += np.bincount(row, minlength=len(asked))
        ones = np.ones(len(row), dtype=np.int32)
        alike = csr_array((ones, (row, column)), shape=(len(asked), len(batch)))
        had = had + (alike @ there).multiply(wanted)
        for at in np.flatnonzero(share >= threshold).tolist():
            pairs += [(int(row[at]), place, float(share[at])) for place in places[column[at]]]
    return _Alike(pairs, copies, _templates(had.tocsr(), copies, sizes, distinct))


def _templates(had: Any, copies: Any, sizes: Any, distinct: int) -> set[int]:
    """The questions whose near-copies are other questions of one template."""
    found = set()
    for question in np.flatnonzero(copies > COMMON_ROWS).tolist():
        count = int(copies[question])
        of = had.data[had.indptr[question] : had.indptr[question + 1]]
        rare = int(sizes[question]) - int((4 * of >= count).sum())  # three quarters lack them
        if rare >= _SLOT or count > RULING_SHARE * distinct:
            found.add(question)
    return found


def _matrix(documents: Sequence[Numbers], words: Numbers) -> Any:
    """Which document has which shingle: [documents, words]."""
    from scipy.sparse import csr_array

    there = [document[within(document, words)] for document in documents]
    starts = np.cumsum([0, *(len(document) for document in there)])
    columns = np.searchsorted(words, np.concatenate(there))
    ones = np.ones(len(columns), dtype=np.int32)
    return csr_array((ones, columns, starts), shape=(len(documents), len(words)))


def _distinct(documents: Iterable[Numbers]) -> Iterator[tuple[list[Numbers], list[list[int]]]]:
    """Different documents in batches, with the places that each stands at."""
    places: dict[bytes, list[int]] = {}
    for at, document in enumerate(documents):
        places.setdefault(document.tobytes(), []).append(at)
    keys = [*places]
    for start in range(0, len(keys), _BATCH):
        part = keys[start : start + _BATCH]
        yield [np.frombuffer(key, np.uint64) for key in part], [places[key] for key in part]
