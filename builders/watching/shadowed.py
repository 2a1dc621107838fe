"""Two releases on the same requests of clients: what answered, and what would have answered.

Each pair is one draw, whichever way it is judged:

    reviews   people's preference in the review queue, once two have judged; of those that differ
    metric    a score of each answer against what it should have been (`references.py`)
    judge     a model's preference in both orders; what the order decided is neither

Invariant: pairs are counted in the order in which what they are judged by came to be, so that what
was counted stays the beginning of what is counted later; a conversation counts once, by its first
request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from adapterworks.builders.endpoints.budget import Budget
from adapterworks.builders.endpoints.cache import AnswerCache
from adapterworks.builders.endpoints.comparing import Verdict, Verdicts, preferred, read_verdict
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.evaluation.judge import comparing
from adapterworks.builders.evaluation.metrics.metric import Metric
from adapterworks.builders.evaluation.sequences import Decision, decide
from adapterworks.builders.watching.alias import Pair
from adapterworks.builders.watching.references import (
    first_of_conversations,
    readable,
    reference,
    row_of,
)
from adapterworks.registry.exchanges.exchange import Exchange
from adapterworks.registry.exchanges.reviews import REVIEWERS, judged
from adapterworks.registry.exchanges.shadows import pairs
from adapterworks.registry.exchanges.store import Exchanges

_AT_ONCE = 16  # pairs that a judge is asked about between two looks


@dataclass(frozen=True, slots=True)
class Both:
    """One request and both answers.

    Attributes:
        number: of the pair, in the order in which pairs were put.
        watched, reference: the two answers.
    """

    number: int
    exchange: Exchange
    watched: str
    reference: str

    @property
    def same(self) -> bool:
        """Whether there is nothing to choose."""
        return self.watched.strip() == self.reference.strip()


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of it.

    Attributes:
        by: what judged.
        pairs: requests that both have answered.
        judged: how many of them count.
        same: of all pairs, those with one and the same answer.
    """

    by: str
    decision: Decision
    pairs: int
    judged: int
    same: int


Losses = Callable[[Sequence[Both]], Iterator[float]]
"""What the watched release loses on each pair that counts, −1–1, in the order in which they do."""


def compare_shadowed(
    store: Exchanges,
    pair: Pair,
    by: str,
    losses: Losses,
    *,
    tenant: str | None = None,
    since: float = 0.0,
    confidence: float,
    most: float,
) -> Compared:
    """Compare two releases on what both have answered, until it is decided.

    Args:
        tenant: id of the tenant whose requests are read; all tenants', if not given.
        since: asked at this time or later, seconds since the epoch.
        most: the largest mean loss that is let pass, 0–1.
    """
    found = list(both_of(store, pair, tenant=tenant, since=since))
    lost: list[float] = []
    decision = decide(np.asarray(lost), most, confidence)
    for loss in losses(found):
        lost.append(loss)
        if len(lost) % _AT_ONCE == 0:
            decision = decide(np.asarray(lost), most, confidence)
            if decision.verdict != "undecided":
                break
    decision = decide(np.asarray(lost), most, confidence)
    return Compared(by, decision, len(found), len(lost), sum(one.same for one in found))


def both_of(
    store: Exchanges, pair: Pair, *, tenant: str | None = None, since: float = 0.0
) -> Iterator[Both]:
    """What both have answered, each conversation once; turns that are no texts are passed over."""
    releases = {pair.watched.digest, pair.reference.digest}
    found = [
        one
        for one in pairs(store, adapter=pair.name, releases=releases, tenant=tenant, since=since)
        if {one.exchange.release, one.release} == releases and readable(one.exchange)
    ]
    first = {one.receipt for one in first_of_conversations(one.exchange for one in found)}
    for one in found:
        if one.exchange.receipt in first:
            texts = (one.exchange.text, one.answer)
            own = one.exchange.release == pair.watched.digest
            yield Both(one.number, one.exchange, *(texts if own else texts[::-1]))


def by_metric(metric: Metric) -> Losses:
    """Judged by a metric of answers from 0 to 1."""

    def losses(found: Sequence[Both]) -> Iterator[float]:
        known = [(said, one) for one in found if (said := reference(one.exchange, metric))]
        for (_, row), one in sorted(known, key=lambda entry: (entry[0][0], entry[1].number)):
            lost = metric.score(one.reference, row) - metric.score(one.watched, row)
            yield lost if metric.higher_is_better else -lost

    return losses


def by_reviews(store: Exchanges, pair: Pair, tenant: str | None = None) -> Losses:
    """Judged by people, two of them; of answers that differ, since equal ones are shown to none."""

    def losses(found: Sequence[Both]) -> Iterator[float]:
        releases, receipts = (
            {pair.watched.digest, pair.reference.digest},
            {one.exchange.receipt for one in found},
        )
        said: dict[str, list[int]] = {}
        for review in judged(store, tenant=tenant, adapter=pair.name):
            if review.receipt not in receipts or {review.release, review.against} != releases:
                continue
            values = said.setdefault(review.shadow, [])
            values.append(review.preferred)
            if len(values) == REVIEWERS:
                sign = -1 if review.release == pair.watched.digest else 1
                yield sign * sum(values) / REVIEWERS

    return losses


def by_judge(
    judge: Endpoint,
    kept: AnswerCache,
    budget: Budget,
    *,
    parallel: int,
    sharing: Collection[str] | None = None,
) -> Losses:
    """Judged by a model, asked about a few pairs at a time; equal answers without it.

    Args:
        sharing: ids of the tenants who let somebody learn from their answers now: of nobody else is
            anything shown to it, nor what was kept under other words. None: of all.
    """

    def losses(found: Sequence[Both]) -> Iterator[float]:
        shown = [
            one
            for one in found
            if one.exchange.share != "none" and (sharing is None or one.exchange.tenant in sharing)
        ]
        for begin in range(0, len(shown), _AT_ONCE):
            some = shown[begin : begin + _AT_ONCE]
            chats = [
                chat
                for one in some
                if not one.same
                for chat in comparing(row_of(one.exchange, ""), one.watched, one.reference)
            ]
            answers = budget.ask(kept, judge, chats, parallel=parallel)
            said = iter([read_verdict(answer.text) for answer in answers])
            for one in some:
                verdicts: Verdicts = ("tie", "tie") if one.same else _two(said)
                if budget.spent and None in verdicts:
                    return
                yield -float(preferred(verdicts) or 0)

    return losses


def _two(said: Iterator[Verdict | None]) -> Verdicts:
    return next(said, None), next(said, None)
