"""Cohen's kappa against scikit-learn's, and its interval against resampling."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from adapterworks.registry.exchanges.agreement import agreement, kappa
from adapterworks.registry.exchanges.exchange import Feedback


def raters(count: int, share: float, seed: int = 0, values: int = 4) -> tuple[list[int], list[int]]:
    """Two raters; the second says what the first does in this share of the answers."""
    rng = np.random.default_rng(seed)
    first = rng.choice(values, count, p=[0.4, 0.3, 0.2, 0.1][:values])
    other = rng.choice(values, count)
    second = np.where(rng.random(count) < share, first, other)
    return first.tolist(), second.tolist()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_kappa_is_what_scikit_learn_says(share: float) -> None:
    ours, theirs = raters(200, share)
    for ordered, weights in ((False, None), (True, "linear")):
        found = kappa(ours, theirs, ordered=ordered)
        assert found is not None
        assert found[0] == pytest.approx(cohen_kappa_score(ours, theirs, weights=weights))


@pytest.mark.parametrize("ordered", [False, True])
def test_the_error_is_what_resampling_gives(ordered: bool) -> None:
    ours, theirs = (np.array(side) for side in raters(300, 0.6))
    found = kappa(ours.tolist(), theirs.tolist(), ordered=ordered)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, 300, 300)
        again = kappa(ours[rows].tolist(), theirs[rows].tolist(), ordered=ordered)
        assert again is not None
        drawn.append(again[0])
    assert found is not None
    assert found[1] == pytest.approx(float(np.std(drawn)), rel=0.12)


def test_a_table_from_the_literature() -> None:
    """Fleiss, Levin and Paik 2003, table 18.1: 75, 1, 4; 5, 4, 1; 0, 0, 10 of a hundred."""
    table = ((75, 1, 4), (5, 4, 1), (0, 0, 10))
    pairs = [(a, b) for a in range(3) for b in range(3) for _ in range(table[a][b])]
    found = kappa([a for a, _ in pairs], [b for _, b in pairs])
    assert found is not None
    assert found[0] == pytest.approx(0.68, abs=0.005)
    assert found[1] == pytest.approx(0.087, abs=0.001)


def test_where_both_always_say_the_same_nothing_can_be_told() -> None:
    assert kappa(["up", "up"], ["up", "up"]) is None
    found = kappa(["up", "down"], ["up", "down"])
    assert found is not None
    assert found[0] == pytest.approx(1.0)


def said(reviewer: str, receipt: str, thumb: str, at: float = 0.0) -> Feedback:
    return Feedback(
        "fb", receipt, "tn", "medical", "r", reviewer, thumb, None, "", None, None, at  # type: ignore[arg-type]
    )  # fmt: skip


def test_pairs_are_compared_on_what_both_have_judged_by_their_last_word() -> None:
    found = agreement(
        [
            said("ann", "1", "down", 5.0),
            said("ann", "1", "up", 1.0),  # taken back since
            said("bo", "1", "down"),
            said("ann", "2", "up"),
            said("bo", "2", "down"),
            said("ann", "3", "up"),  # bo has not seen it
            said("cy", "9", "up"),
            said("", "1", "up"),  # nobody's name
        ],
        "thumb",
    )
    assert [(pair.first, pair.second, pair.answers, pair.same) for pair in found] == [
        ("ann", "bo", 2, 0.5)
    ]
