"""What a proof measures, against sums worked out by hand."""

from __future__ import annotations

from math import log

import pytest

from adapterworks.gateway.residency.verdict import (
    EXACT_LIMIT,
    ROUNDED_LIMIT,
    Answers,
    Proof,
    divergence,
    effect,
    limit,
)

# Two tokens of probability 3/4 and 1/4; one list holds all of the mass, the other half of it.
WHOLE = [(7, log(0.75)), (9, log(0.25))]
HALF = [(7, log(0.375)), (9, log(0.125))]


def test_a_divergence_is_the_mean_shift_under_the_fingerprints_own_shares() -> None:
    """¾ · 0.2 + ¼ · 0.4 = 0.25 nats at one position."""
    moved = {7: log(0.75) - 0.2, 9: log(0.25) + 0.4}
    assert divergence([WHOLE], [moved]) == pytest.approx(0.25)
    assert divergence([WHOLE], [dict(WHOLE)]) == 0.0
    assert divergence([WHOLE, WHOLE], [moved, dict(WHOLE)]) == pytest.approx(0.125)


def test_shares_sum_to_one_whatever_the_list_leaves_out() -> None:
    """With half of the mass the shares are ¾ and ¼ all the same."""
    moved = {7: log(0.375) - 0.2, 9: log(0.125) + 0.4}
    assert divergence([HALF], [moved]) == pytest.approx(0.25)


@pytest.mark.parametrize("by", [-2000.0, 2000.0])
def test_shares_are_of_what_numbers_there_are(by: float) -> None:
    """A stranger's need be no log-probabilities: e^2000 overflows, and e^-2000 is nothing."""
    wild = [(token, logprob + by) for token, logprob in WHOLE]
    assert divergence([wild], [{7: log(0.75) + by - 0.2, 9: log(0.25) + by + 0.4}]) == (
        pytest.approx(0.25)
    )


def test_a_token_that_the_engine_does_not_list_counts_as_its_least_likely() -> None:
    """Token 9 is missing; the engine's least is −3: ¾ · 0 + ¼ · |log ¼ + 3|."""
    got = {7: log(0.75), 1: -2.0, 2: -3.0}
    assert divergence([WHOLE], [got]) == pytest.approx(0.25 * (3.0 + log(0.25)))


def test_another_number_of_positions_is_no_answer() -> None:
    with pytest.raises(ValueError, match="zip"):
        divergence([WHOLE, WHOLE], [dict(WHOLE)])


def shifted(built: tuple[float, float], found: tuple[float, float]) -> Answers:
    """A base at 0, moved by `built` in the fingerprint and by `found` in the engine.

    The fingerprint's values are its own log-probabilities, so the base is what lies below them.
    """
    base = [(7, log(0.75) - built[0]), (9, log(0.25) - built[1])]
    engine_base = {7: -1.0, 9: -5.0}
    got = {7: -1.0 + found[0], 9: -5.0 + found[1]}
    return Answers([WHOLE], [base], [got], [engine_base])


@pytest.mark.parametrize(
    ("found", "similarity", "strength"),
    [
        # Built (2, −2): its length under the shares is ¾ · 4 + ¼ · 4 = 4.
        ((2.0, -2.0), 1.0, 1.0),
        ((1.0, -1.0), 1.0, 0.5),
        ((-2.0, 2.0), -1.0, -1.0),
        ((0.0, 0.0), 0.0, 0.0),
        # ¾ · 2 · 2 + ¼ · (−2) · 2 = 2; lengths 4 and 4: cosine ½, strength 2 / 4.
        ((2.0, 2.0), 0.5, 0.5),
        # ¾ · 2 · 4 = 6; found ¾ · 16 = 12: 6 / √48, strength 6 / 4.
        ((4.0, 0.0), 6 / 48**0.5, 1.5),
    ],
)
def test_an_effect_is_a_direction_and_a_strength(
    found: tuple[float, float], similarity: float, strength: float
) -> None:
    measured = effect(shifted((2.0, -2.0), found))
    assert measured.similarity == pytest.approx(similarity)
    assert measured.strength == pytest.approx(strength)


def test_an_effect_of_an_adapter_that_was_built_to_do_nothing_is_none() -> None:
    measured = effect(shifted((0.0, 0.0), (1.0, 1.0)))
    assert (measured.similarity, measured.strength) == (0.0, 0.0)


def test_an_effect_sums_over_positions() -> None:
    """One position as built, one not at all: 4 / √(8 · 4), strength 4 / 8."""
    one, none = shifted((2.0, -2.0), (2.0, -2.0)), shifted((2.0, -2.0), (0.0, 0.0))
    both = Answers(
        [*one.expected, *none.expected],
        [*one.expected_base, *none.expected_base],
        [*one.got, *none.got],
        [*one.got_base, *none.got_base],
    )
    measured = effect(both)
    assert measured.similarity == pytest.approx(4 / 32**0.5)
    assert measured.strength == pytest.approx(0.5)


def test_rounding_explains_more_in_16_bits() -> None:
    assert (limit(True), limit(False)) == (EXACT_LIMIT, ROUNDED_LIMIT) == (0.02, 0.15)


def test_what_was_not_measured_cost_nothing_and_says_nothing() -> None:
    assert limit(exact=True) == EXACT_LIMIT
    proof = Proof("unproved")
    assert (proof.milliseconds, proof.tokens, proof.note) == (0.0, 0, "")
    assert (proof.divergence, proof.separation) == (None, None)
