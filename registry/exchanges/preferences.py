"""Judgements of the review queue → who is preferred, and how far reviewers agree. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapterworks.registry.exchanges.agreement import kappa
from adapterworks.registry.exchanges.reviews import TIE, Review


@dataclass(frozen=True, slots=True)
class Agreed:
    """Two reviewers on what both have judged: Cohen's kappa, None where it is not defined."""

    first: str
    second: str
    answers: int
    same: float
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Preferred:
    """Two releases, as reviewers found them on the same requests.

    Attributes:
        release: digest of what answered the clients.
        against: digest of the other one; empty for answers that were shown alone.
        answers: how many requests were judged.
        better, worse, neither: judgements; of one answer alone, right and wrong.
        first_shown: how often what stood first was chosen, of judgements for either; None without
            such a judgement, or for answers alone.
    """

    release: str
    against: str
    answers: int
    better: int
    worse: int
    neither: int
    first_shown: float | None
    agreed: tuple[Agreed, ...]


def preferences(judged: Iterable[Review]) -> list[Preferred]:
    """What was found of each two releases, in the order of the first judgement."""
    groups: dict[tuple[str, str], list[Review]] = {}
    for one in judged:
        groups.setdefault((one.release, one.against), []).append(one)
    return [_preferred(*names, group) for names, group in groups.items()]


def value(one: Review) -> int:
    """1 where the client's answer is better or right, −1 where it is worse or wrong, or 0."""
    if one.shadow:
        return one.preferred
    return 1 if one.choice else -1


def _preferred(release: str, against: str, group: Sequence[Review]) -> Preferred:
    values = [value(one) for one in group]
    chosen = [one.choice == 1 for one in group if against and one.choice != TIE]
    return Preferred(
        release,
        against,
        len({(one.receipt, one.shadow) for one in group}),
        values.count(1),
        values.count(-1),
        values.count(0),
        sum(chosen) / len(chosen) if chosen else None,
        tuple(_agreed(group)),
    )


def _agreed(group: Sequence[Review]) -> Iterable[Agreed]:
    said: dict[str, dict[tuple[str, str], str | float]] = {}
    for one in group:
        said.setdefault(one.reviewer, {})[one.receipt, one.shadow] = value(one)
    names = sorted(said)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            both = sorted(said[first].keys() & said[second].keys())
            if not both:
                continue
            ours = [said[first][key] for key in both]
            theirs = [said[second][key] for key in both]
            found = kappa(ours, theirs)
            same = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(both)
            yield Agreed(first, second, len(both), same, None if found is None else found[0])
