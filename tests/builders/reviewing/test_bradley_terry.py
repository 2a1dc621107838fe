"""Strengths and agreement: by hand, by the papers' example, and beside another implementation."""

from __future__ import annotations

import numpy as np
import pytest

from adapterworks.builders.reviewing.bradley_terry import Judged, fit
from adapterworks.builders.reviewing.reliability import alpha
from adapterworks.manifests.errors import InvalidInput


def test_strengths_are_those_of_choix() -> None:
    choix = pytest.importorskip("choix")
    generator = np.random.Generator(np.random.PCG64(3))
    true, wins, judged = np.array([1.0, 0.2, -0.3, -0.9]), [], []
    for row in range(300):
        a, b = generator.choice(4, 2, replace=False).tolist()
        first = generator.random() < 1 / (1 + np.exp(true[b] - true[a]))
        wins.append((a, b) if first else (b, a))
        judged.append(Judged(a, b, float(first), row))
    found = fit(judged, 4, prior=0.0)
    assert found.values == pytest.approx(choix.ilsr_pairwise(4, wins, alpha=0.0), abs=1e-6)
    for at, value in enumerate(true):
        low, high = found.interval(at, 0.999)
        assert low < value < high


def test_two_releases_by_hand() -> None:
    """30 of 40 won, each row by itself: θ₁ − θ₂ = log 3, and its variance is n / (wins · losses),
    by the sandwich times n / (n − 1)."""
    judged = [Judged(0, 1, float(row < 30), row) for row in range(40)]
    found = fit(judged, 2, prior=0.0)
    assert found.values == pytest.approx([np.log(3) / 2, -np.log(3) / 2])
    value, low, high = found.preferred(0, 1)
    reach = 1.959964 * np.sqrt(40 / (30 * 10) * 40 / 39)
    assert value == pytest.approx(0.75)
    assert (low, high) == pytest.approx(
        tuple(1 / (1 + np.exp(-(np.log(3) + by))) for by in (-reach, reach)), abs=1e-6
    )
    # A second reviewer who says the same of every row adds nothing.
    twice = fit([*judged, *judged], 2, prior=0.0)
    assert twice.preferred(0, 1) == pytest.approx((value, low, high))


def test_ties_and_priors() -> None:
    ties = fit([Judged(0, 1, 0.5, row) for row in range(4)], 2, prior=0.0)
    assert ties.values == pytest.approx([0, 0])
    all_won = [Judged(0, 1, 1.0, row) for row in range(9)]
    with pytest.raises(InvalidInput, match="wins or loses everything"):
        fit(all_won, 2, prior=0.0)
    assert fit(all_won, 2).preferred(0, 1)[0] == pytest.approx(9.5 / 10)  # (9 + ½) / (9 + 1)
    # The prior's half a win and half a loss are uncertain as well: nine of nine are no certainty
    # (Clopper and Pearson's lower end is 0.664), and what was not seen has some width.
    assert fit(all_won, 2).preferred(0, 1)[1] < 0.664
    for rows in (1, 3):
        _, low, high = fit([Judged(0, 1, 0.5, row) for row in range(rows)], 2).preferred(0, 1)
        assert 0.0 < low < 0.5 < high < 1.0
    with pytest.raises(InvalidInput, match="one row does not say"):
        fit([Judged(0, 1, 0.5, 0)], 2, prior=0.0)
    with pytest.raises(InvalidInput, match="not all compared"):
        fit([*all_won, Judged(2, 3, 1.0, 10)], 4)


def test_alpha_is_krippendorffs_example() -> None:
    """Krippendorff 2011, section D: 4 observers, 12 units, missing values."""
    units: list[list[float]] = [
        [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
        [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
    ]  # fmt: skip
    assert alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert alpha(units, interval=True) == pytest.approx(0.849, abs=5e-4)
    assert alpha([[1, 1], [1, 1]]) is None
