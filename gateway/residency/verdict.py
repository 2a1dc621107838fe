"""What a proof measures, by which limits it is judged, and what comes of it.

Invariant: measures are in nats, over the fingerprint's own top tokens; a token that the engine's
list does not hold counts as the least likely in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Literal

from adapterworks.manifests.errors import Refused

# Share of the adapter-to-base distance that the engine may be off by.
RATIO = 0.1
# What rounding alone explains, in nats: float32 against float32, and 16-bit engines.
EXACT_LIMIT = 0.02
ROUNDED_LIMIT = 0.15
# An adapter this close to its base cannot be told from it.
SMALLEST_SEPARATION = 0.002

Position = Sequence[tuple[int, float]]
Scores = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of one proof.

    Attributes:
        divergence: engine to fingerprint, nats; None if there was nothing to compare with.
        separation: adapter to base in the fingerprint, nats.
        tokens: engine tokens it cost.
    """

    state: Literal["proved", "unproved"]
    note: str = ""
    divergence: float | None = None
    separation: float | None = None
    milliseconds: float = 0.0
    tokens: int = 0


class ProofFailed(Refused):
    """The engine does not reproduce the fingerprint.

    Attributes:
        measured: what it did instead.
        findings: facts about the release's files, for the operator only: they may name others'.
    """

    def __init__(self, message: str, *, hint: str, measured: Proof | None = None) -> None:
        super().__init__(message, hint=hint)
        self.measured = measured
        self.findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """The same positions four times: fingerprint and engine, with the adapter and without."""

    expected: Sequence[Position]
    expected_base: Sequence[Position]
    got: Sequence[Scores]
    got_base: Sequence[Scores]


@dataclass(frozen=True, slots=True)
class Effect:
    """What an adapter does to its base in the engine, beside what it did when it was built.

    Attributes:
        similarity: cosine of the two shifts of log-probabilities; 1 is the same direction.
        strength: length of the engine's shift along the built one; 1 is as strong.
    """

    similarity: float
    strength: float


def limit(exact: bool) -> float:
    """What the engine's rounding explains, in nats."""
    return EXACT_LIMIT if exact else ROUNDED_LIMIT


def divergence(expected: Sequence[Position], got: Sequence[Scores]) -> float:
    """Mean over positions of Σ pᵢ·|log pᵢ − log qᵢ| over the expected top tokens, in nats."""
    total = 0.0
    for position, scores in zip(expected, got, strict=True):
        total += sum(
            share * abs(logprob - value)
            for share, logprob, value in zip(
                _shares(position), (p for _, p in position), _values(position, scores), strict=True
            )
        )
    return total / len(expected)


def effect(answers: Answers) -> Effect:
    """Compare the adapter's shifts away from the base, token by token."""
    built_built = built_found = found_found = 0.0
    for position, base, got, got_base in zip(
        answers.expected, answers.expected_base, answers.got, answers.got_base, strict=True
    ):
        columns = zip(
            _shares(position),
            (logprob for _, logprob in position),
            _values(position, dict(base)),
            _values(position, got),
            _values(position, got_base),
            strict=True,
        )
        for share, expected, expected_base, value, value_base in columns:
            built, found = expected - expected_base, value - value_base
            built_built += share * built * built
            built_found += share * built * found
            found_found += share * found * found
    lengths = sqrt(built_built * found_found)
    return Effect(
        similarity=built_found / lengths if lengths else 0.0,
        strength=built_found / built_built if built_built else 0.0,
    )


def _shares(position: Position) -> list[float]:
    """The tokens' probabilities, made to sum to 1, whatever finite numbers a stranger wrote."""
    most = max(logprob for _, logprob in position)
    weights = [exp(logprob - most) for _, logprob in position]
    mass = sum(weights)
    return [weight / mass for weight in weights]


def _values(position: Position, scores: Scores) -> list[float]:
    """The scores of the position's tokens."""
    floor = min(scores.values())
    return [scores.get(token, floor) for token, _ in position]
