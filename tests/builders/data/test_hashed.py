"""Shingles as numbers are the shingles; candidates are found; memory does not grow with rows."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from adapterworks.builders.data.gates import hashed
from adapterworks.builders.data.gates.hashed import (
    Documents,
    candidates,
    common_shingles,
    signatures,
    within,
)
from adapterworks.builders.data.gates.text import shingles

WORDS = [f"w{number}" for number in range(300)]


def texts(count: int, length: int = 60, seed: int = 1) -> list[str]:
    """Random ones, each followed by copies with ever more words changed."""
    generator = random.Random(seed)
    made: list[str] = []
    while len(made) < count:
        words = generator.choices(WORDS, k=length)
        made.append(" ".join(words))
        for changed in (1, 3, 6):
            copy = [*words]
            for at in generator.sample(range(length), changed):
                copy[at] = f"x{generator.random()}"
            made.append(" ".join(copy))
    return made[:count]


@pytest.mark.parametrize("width", [1, 3, 5])
def test_numbers_meet_as_the_shingles_do(width: int) -> None:
    given = [*texts(12), "", "one", "One!", "one two", "?!"]
    documents = Documents(len(given), given.__getitem__, width)
    sets = [shingles(text, width) for text in given]
    for one, other in combinations(range(len(given)), 2):
        found = np.intersect1d(documents.document(one), documents.document(other))
        assert len(found) == len(sets[one] & sets[other])
    assert [len(document) for document in documents] == [len(found) for found in sets]


def test_what_is_common_is_what_counting_all_would_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets that collide are counted one by one."""
    given = texts(200, length=30)
    documents = Documents(len(given), given.__getitem__, 1)
    expected = common_shingles(documents)
    counts: dict[int, int] = {}
    for document in {d.tobytes(): d for d in documents}.values():
        for number in document.tolist():
            counts[number] = counts.get(number, 0) + 1
    assert expected.tolist() == sorted(n for n, count in counts.items() if count > 5)
    assert len(expected) > 10
    monkeypatch.setattr(hashed, "_BUCKETS", 8)
    monkeypatch.setattr(hashed, "_BATCH", 7)
    assert np.array_equal(common_shingles(documents), expected)


def test_similar_rows_are_candidates_and_a_signature_estimates_their_similarity() -> None:
    given = texts(400)
    documents = Documents(len(given), given.__getitem__, 3)
    none = np.empty(0, np.uint64)
    signed = signatures(documents, none, 128, seed=1)
    found = candidates(signed, 0.6)
    missed, errors = 0, []
    for one, other in combinations(range(len(given)), 2):
        a, b = documents.document(one), documents.document(other)
        shared = int(within(a, b).sum())
        similarity = shared / (len(a) + len(b) - shared)
        if similarity >= 0.75:
            missed += one not in found.get(other, [])
        if similarity > 0.3:
            errors.append(abs(float((signed[one] == signed[other]).mean()) - similarity))
    assert missed == 0
    assert np.mean(errors) < 0.05  # √(0.25 / 128) is 0.044
    pairs = sum(len(others) for others in found.values())
    assert pairs < 0.02 * len(given) ** 2 / 2, "not everything is compared with everything"


def test_many_rows_are_hashed_again_instead_of_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = texts(20)
    kept = Documents(20, given.__getitem__, 3)
    first = kept.document(3)
    assert kept.document(3) is first
    monkeypatch.setattr(hashed, "_KEPT", 10)
    monkeypatch.setattr(hashed, "_VOCABULARY", 5)
    again = Documents(20, given.__getitem__, 3)
    assert again.document(3) is not again.document(3)
    assert np.array_equal(again.document(3), first)


def test_nothing_is_like_nothing() -> None:
    documents = Documents(3, ["", "?", ""].__getitem__, 3)
    assert not len(common_shingles(documents))
    empty = Documents(0, [].__getitem__, 3)
    assert not len(common_shingles(empty))
    assert candidates(signatures(empty, np.empty(0, np.uint64), 128, 1), 0.6) == {}
