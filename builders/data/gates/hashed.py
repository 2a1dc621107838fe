"""Shingles as 64-bit numbers: what rows are compared by when there are many of them.

A row's text is hashed when it is asked for and kept only while all rows together are few, so that
memory does not grow with the rows. Two different shingles have one number with a chance of 1 in
10^19; the numbers are the same on every machine and in every run.

Invariant: `document(i)` is the set of the shingles of `text.shingles` of row i, as numbers, sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.gates.text import (
    COMMON_ROWS,
    COMMON_SHARE,
    EDGE,
    RULING_SHARE,
)
from adapterworks.builders.data.wording import words

if TYPE_CHECKING:
    from collections.abc import Callable

Numbers = NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, of the golden ratio
_MIX = np.uint64(0xFF51AFD7ED558CCD)  # of MurmurHash3's finalizer
_HALF = np.uint64(33)
_KEPT = 50_000  # rows whose numbers are kept
_VOCABULARY = 400_000  # words whose numbers are kept
_BUCKETS = 1 << 22
_BATCH = 4096


class _Codes(dict[str, int]):
    """Word → its number, worked out when it is first asked for."""

    def __missing__(self, word: str) -> int:
        code = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = code
        return code


class Documents:
    """The shingles of many texts.

    Args:
        count: how many there are.
        text: the i-th.
        width: words of a shingle.
        words: what the words of a text are.
    """

    def __init__(
        self,
        count: int,
        text: Callable[[int], str],
        width: int,
        words: Callable[[str], list[str]] = words,
    ) -> None:
        self.count, self._text, self.width, self._split = count, text, width, words
        self._words = _Codes()
        self._kept: dict[int, Numbers] = {}

    def document(self, index: int) -> Numbers:
        """The i-th text's shingles, sorted, each once; empty for a text without a word."""
        kept = self._kept.get(index)
        if kept is None:
            kept = self._hashed(self._text(index))
            if self.count <= _KEPT:
                self._kept[index] = kept
        return kept

    def __iter__(self) -> Iterator[Numbers]:
        return (self.document(index) for index in range(self.count))

    def _hashed(self, text: str) -> Numbers:
        tokens = self._split(text)
        if not tokens:
            return np.empty(0, np.uint64)
        known = self._words
        if len(known) > _VOCABULARY:
            known.clear()
        codes = np.array([known[token] for token in (EDGE, *tokens, EDGE)], dtype=np.uint64)
        width = min(self.width, len(codes))
        runs = len(codes) - width + 1
        mixed = np.full(runs, width, dtype=np.uint64)
        for at in range(width):
            mixed = mixed * _FACTOR + codes[at : at + runs]
            mixed ^= mixed >> _HALF
        mixed *= _MIX
        return np.unique(mixed ^ (mixed >> _HALF))


@dataclass(frozen=True, slots=True)
class Template:
    """What is no evidence that two documents are alike.

    Attributes:
        common: shingles of more than 5 different documents and more than 1 % of them, sorted.
        ruling: those of more than 20 % of them.
    """

    common: Numbers
    ruling: Numbers

    def joined(self, other: Template) -> Template:
        """The template of two collections: what is common, or rules, in either of them."""
        return Template(
            np.union1d(self.common, other.common), np.union1d(self.ruling, other.ruling)
        )


NO_TEMPLATE = Template(np.empty(0, np.uint64), np.empty(0, np.uint64))


def common_shingles(documents: Documents | Sequence[Numbers]) -> Numbers:
    """Shingles of more than 5 different documents and more than 1 % of them, sorted."""
    return template_of(documents).common


def template_of(documents: Documents | Sequence[Numbers]) -> Template:
    """The template of a collection."""
    distinct, found = _candidates(documents)
    if not found:
        return NO_TEMPLATE
    shingles, counts = np.unique(np.concatenate(found), return_counts=True)
    bound = max(COMMON_ROWS, COMMON_SHARE * distinct)
    ruling = max(COMMON_ROWS, RULING_SHARE * distinct)
    return Template(shingles[counts > bound], shingles[counts > ruling])


def _candidates(documents: Documents | Sequence[Numbers]) -> tuple[int, list[Numbers]]:
    """How many different documents there are, and the shingles that may be frequent in them.

    Counted in buckets first, so that only what may be so frequent is counted one by one. A single
    batch is counted one by one as it is: zeroing the buckets would take longer.
    """
    batch = next(_distinct(documents), [])
    if len(batch) < _BATCH:
        return len(batch), batch
    distinct = 0
    buckets = np.zeros(_BUCKETS, dtype=np.int64)
    for batch in _distinct(documents):
        distinct += len(batch)
        whole = np.concatenate(batch)
        buckets += np.bincount((whole % np.uint64(_BUCKETS)).astype(np.int64), minlength=_BUCKETS)
    bound = max(COMMON_ROWS, COMMON_SHARE * distinct)
    found = []
    for batch in _distinct(documents):
        whole = np.concatenate(batch)
        frequent = buckets[(whole % np.uint64(_BUCKETS)).astype(np.int64)] > bound
        found.append(whole[frequent])
    return distinct, found


def _distinct(documents: Documents | Sequence[Numbers]) -> Iterator[list[Numbers]]:
    """Different documents in batches."""
    seen: set[int] = set()
    batch: list[Numbers] = []
    for document in documents:
        key = hash(document.tobytes())
        if key in seen:
            continue
        seen.add(key)
        batch.append(document)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def within(document: Numbers, others: Numbers) -> NDArray[np.bool_]:
    """For each of a document's shingles, whether it is among some others, which are sorted."""
    if not len(others):
        return np.zeros(len(document), dtype=bool)
    at = np.searchsorted(others, document)
    at[at == len(others)] = 0
    return others[at] == document


def signatures(
    documents: Documents, common: Numbers, permutations: int, seed: int
) -> NDArray[np.uint32]:
    """MinHash (Broder 1997) of every document without what is common: [documents, permutations].

    The permutations are a·x + b modulo 2^32, a odd, of the shingles' upper halves.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    factors = generator.integers(0, 2**32, permutations, dtype=np.uint32) | np.uint32(1)
    terms = generator.integers(0, 2**32, permutations, dtype=np.uint32)
    made = np.full((documents.count, permutations), 2**32 - 1, dtype=np.uint32)
    for index, document in enumerate(documents):
        telling = document[~within(document, common)]
        if len(telling):
            upper = (telling >> np.uint64(32)).astype(np.uint32)
            made[index] = (upper * factors[:, None] + terms[:, None]).min(axis=1)
    return made


def candidates(signed: NDArray[np.uint32], similarity: float) -> dict[int, list[int]]:
    """Row → earlier rows that may be this similar: they agree on all numbers of some band.

    The bands are as many as make two rows of this similarity as likely found as not.
    """
    count, permutations = signed.shape
    size = next(
        size
        for size in range(permutations, 0, -1)
        if (1 / (permutations // size)) ** (1 / size) <= similarity or size == 1
    )
    factors = np.random.Generator(np.random.PCG64(7)).integers(0, 2**64, size, dtype=np.uint64)
    found: dict[int, set[int]] = {}
    for band in range(permutations // size):
        part = signed[:, band * size : (band + 1) * size].astype(np.uint64)
        keys = (part * (factors | np.uint64(1))).sum(axis=1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        starts = np.flatnonzero(same & ~np.concatenate(([False], same[:-1])))
        for start in starts:
            stop = start + 1
            while stop < count - 1 and same[stop]:
                stop += 1
            members: Sequence[int] = sorted(order[start : stop + 1].tolist())
            for place, member in enumerate(members[1:], 1):
                found.setdefault(member, set()).update(members[:place])
    return {row: sorted(others) for row, others in found.items()}
