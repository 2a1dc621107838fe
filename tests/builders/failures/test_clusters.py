"""Failures in clusters: what is alike is together, what is asked most comes first."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.failures import clusters
from adapterworks.builders.failures.clusters import cluster
from adapterworks.builders.failures.failure import Failure
from adapterworks.builders.failures.rows import corrected, like_failures

CARDS = [f"my credit card was blocked at the {place}" for place in ("station", "hotel", "airport")]
LOANS = ["the interest of my mortgage rose", "why did the mortgage interest rise?"]
OTHER = ["Zyzzogeton haenschi is which animal?"]


def failure(question: str, correction: str | None = None) -> Failure:
    return Failure(
        ({"role": "system", "content": "Be brief"}, {"role": "user", "content": question}),
        "wrong", correction, f"receipt of {question}",
    )  # fmt: skip


FAILURES = [failure(text) for text in (OTHER[0], CARDS[0], LOANS[0], CARDS[1], LOANS[1], CARDS[2])]


def test_what_is_alike_is_one_cluster_and_the_largest_is_first() -> None:
    found = cluster(FAILURES)
    assert [{f.question for f in one.failures} for one in found] == [
        set(CARDS),
        set(LOANS),
        set(OTHER),
    ]
    assert [(one.number, one.traffic, one.first) for one in found] == [
        (1, 3, True),
        (2, 2, False),
        (3, 1, False),
    ]
    assert set(found[0].words) <= {"my", "credit", "card", "was", "blocked", "at", "the"}
    assert "mortgage" in found[1].words


def test_traffic_says_which_cluster_matters_not_its_failures() -> None:
    asked = [failure.question for failure in FAILURES]
    found = cluster(FAILURES, [*asked, *(f"mortgage interest rise {n}" for n in range(9)), "x"])
    assert [one.traffic for one in found] == [11, 3, 1]
    assert {f.question for f in found[0].failures} == set(LOANS)
    assert found[0].first


@pytest.mark.parametrize(("share", "first"), [(0.01, 1), (0.34, 2), (0.67, 3), (1.0, 3)])
def test_the_share_that_matters_is_at_least_one(share: float, first: int) -> None:
    assert sum(one.first for one in cluster(FAILURES, share=share)) == first


def test_the_bound_decides_what_is_alike() -> None:
    assert len(cluster(FAILURES, distance=0.05)) == 6
    assert len(cluster(FAILURES, distance=0.999999)) < 3
    assert cluster([]) == []
    assert [len(one.failures) for one in cluster(FAILURES[:1])] == [1]


def test_languages_without_spaces_are_clustered_too() -> None:
    texts = ["信用卡被冻结了", "我的信用卡被冻结", "房贷利率怎么涨了", "房贷利率为什么涨"]
    found = cluster([failure(text) for text in texts], distance=0.9)
    assert [{f.question for f in one.failures} for one in found] == [set(texts[:2]), set(texts[2:])]


def test_corrections_become_rows_with_all_that_was_asked() -> None:
    found = cluster([failure("what is wrong?", "this"), failure("and what is wrong?")])
    (row,) = corrected(found)
    assert [(m["role"], m["content"]) for m in row.messages] == [
        ("system", "Be brief"),
        ("user", "what is wrong?"),
        ("assistant", "this"),
    ]
    assert row.meta == {"cluster": 1, "failed": "wrong", "place": "receipt of what is wrong?"}


def test_rows_of_a_pool_stand_in_for_test_rows() -> None:
    pool = [chat(text, "right") for text in (*OTHER, "credit card blocked at sea", *CARDS[:1])]
    found = cluster([f for f in FAILURES if f.question in CARDS])
    rows = like_failures(found, pool, without=(), each=1)
    assert [row.question for row in rows] == [CARDS[0], "credit card blocked at sea"][:1] + [
        row.question for row in rows[1:]
    ]
    rows = like_failures(found, pool, without={pool[2].digest}, each=2)
    assert [(row.question, row.meta["cluster"]) for row in rows] == [
        ("credit card blocked at sea", 1)
    ]
    assert like_failures([], pool, without=(), each=1) == []
    assert like_failures(found, [], without=(), each=1) == []


def test_the_nearest_are_those_of_all_similarities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what a whole matrix gives, in parts of one row."""
    texts = [f"{text} {n % 3}" for text in (*CARDS, *LOANS, *OTHER) for n in range(4)]
    space = clusters.Space([*texts, *(failure.question for failure in FAILURES)])
    near = (space.of([f.question for f in FAILURES]) @ space.of(texts).T).toarray()
    for each, distance in ((1, 0.8), (3, 0.8), (5, 0.3), (99, 0.5)):
        best = np.argsort(-near, axis=1, kind="stable")[:, :each]
        expected = {
            int(i) for row, of in enumerate(best) for i in of if near[row, i] >= 1 - distance
        }
        for at_once in (1, 2**23):
            monkeypatch.setattr(clusters, "_AT_ONCE", at_once)
            pool = clusters.Pool(texts, FAILURES)
            assert pool.nearest(FAILURES, each=each, distance=distance) == sorted(expected)
            assert cluster(FAILURES, texts)[0].traffic == 12


def test_failures_unlike_each_other_take_little_memory() -> None:
    """200 clusters of one failure: as dense rows of 2¹⁸ numbers they would take 400 MiB."""
    unlike = [
        failure(f"{n * 7919:x} {n * 104729:o} {'abcdefghij'[n % 10] * 3}") for n in range(200)
    ]
    tracemalloc.start()
    try:
        found = cluster(unlike, [one.question for one in unlike], distance=0.01, share=0.5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) > 150
    assert sum(one.traffic for one in found) == 200
    assert peak < 100 * 2**20


def test_a_pool_is_made_vectors_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    of = clusters.Space.of

    def counted(self: clusters.Space, texts: Sequence[str]) -> Any:
        made.append(len(texts))
        return of(self, texts)

    found = cluster(FAILURES)
    monkeypatch.setattr(clusters.Space, "of", counted)
    like_failures(found, [chat(f"card {n}", "x") for n in range(50)], without=(), each=1)
    assert sorted(made, reverse=True) == [50, 3, 2, 1]
