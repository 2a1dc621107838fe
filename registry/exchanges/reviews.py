"""The review queue of kept answers: what a reviewer is shown, and what was said of it.

A reviewer is shown two answers to one request without whose they are, or one where no other release
has answered it. Two reviewers judge each: whose answer stands first turns over from one to the
next, which takes back what a place on the page gives. What has one judgement comes first.

Invariants:
- a place in the queue is taken in one transaction, so that no third reviewer is shown what two are
  judging, and no two are shown the same order; one that is left for `OPEN_SECONDS` is free again;
- a judgement names what was shown and does not change: what is counted stays counted.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import (
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from adapterworks.registry.exchanges.exchange import Exchange
from adapterworks.registry.exchanges.schema import exchanges, reviews, shadows
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.index.database import AnyRow

REVIEWERS = 2
_MOST_UNREAD = 50
OPEN_SECONDS = 3600.0
TIE = 0
_CHOICES = {1: (1, 0), 2: (1, 2, TIE)}


@dataclass(frozen=True, slots=True)
class Ballot:
    """What is to be judged.

    Attributes:
        answers: one or two, as they are shown.
        choices: what may be said: the place of the better one, or 0 for neither; of one answer 1
            for right and 0 for wrong.
        waiting: how many more the reviewer may judge, this one included.
    """

    id: str
    exchange: Exchange
    answers: tuple[str, ...]
    choices: tuple[int, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class Review:
    """One judgement.

    Attributes:
        shadow: id of the other answer; empty where one was shown alone.
        release: digest of what answered the client.
        against: digest of the other release; empty where one was shown alone.
        first: whose answer stood first: 0 for the client's, 1 for the other one.
        choice: as in `Ballot.choices`.
        judged: seconds since the epoch.
    """

    id: str
    receipt: str
    shadow: str
    tenant: str
    adapter: str
    release: str
    against: str
    reviewer: str
    first: int
    choice: int
    judged: float

    @property
    def preferred(self) -> int:
        """1 where the client's answer is better, −1 where the other one is, 0 for neither."""
        if self.choice == TIE:
            return 0
        return 1 if (self.choice == 1) == (self.first == 0) else -1


def take(
    store: Exchanges, tenant: str, reviewer: str, now: float, *, adapter: str | None = None
) -> Ballot | None:
    """What a reviewer is to judge next, held for it; None where nothing waits.

    Args:
        tenant: id.
        reviewer: a short name.
        now: seconds since the epoch.
    """
    unread: list[str] = []  # receipts of what cannot be read here: it is not taken again
    while True:
        with store.database.write() as connection:
            stale = reviews.c.choice.is_(None) & (reviews.c.created < now - OPEN_SECONDS)
            connection.execute(sa.delete(reviews).where(reviews.c.tenant == tenant, stale))
            row = _held(connection, tenant, reviewer, adapter)
            if row is None:
                row = _reserve(connection, tenant, reviewer, adapter, now, unread)
            waiting = _waiting(connection, tenant, reviewer, adapter, now)
        if row is None:
            return None
        try:
            return _ballot(store, row, 1 + waiting)
        except (NotFound, IntegrityError):  # it has gone meanwhile, or another key sealed it
            unread.append(row.receipt)
            if len(unread) == _MOST_UNREAD:
                raise Unavailable(
                    f"{_MOST_UNREAD} answers that wait cannot be read here",
                    hint="another key sealed them: see that ADAPTERS_KEYS_DIR is the folder of the "
                    "gateway that captured them",
                ) from None
            with store.database.write() as connection:
                connection.execute(sa.delete(reviews).where(reviews.c.id == row.id))


def judge(
    store: Exchanges, tenant: str, name: str, reviewer: str, choice: int, now: float
) -> tuple[Review, bool]:
    """Keep a judgement, and say whether it is new.

    Raises:
        NotFound: the reviewer was not shown that, or is not any more.
        InvalidInput: it has no such choice.
        Conflict: it was judged otherwise before.
    """
    with store.database.write() as connection:
        row = connection.execute(
            sa.select(reviews).where(
                reviews.c.id == name, reviews.c.tenant == tenant, reviews.c.reviewer == reviewer
            )
        ).one_or_none()
        if row is None:
            raise NotFound(
                f"`{reviewer}` is not asked about `{name[:100]}`",
                hint="ask for the next one: what is left for an hour is given to others",
            )
        choices = _CHOICES[2 if row.shadow else 1]
        if choice not in choices:
            raise InvalidInput(
                f"`{choice}` is no choice", hint=f"one of {', '.join(map(str, choices))}"
            )
        if row.choice not in (None, choice):
            raise Conflict(f"`{name}` was judged otherwise before", hint="a judgement stays")
        if row.choice is None:
            connection.execute(
                sa.update(reviews).where(reviews.c.id == name).values(choice=choice, judged=now)
            )
    values = {**row._mapping, "choice": choice, "judged": row.judged or now}
    return _review(values), row.choice is None


def receipt_of(store: Exchanges, tenant: str, name: str) -> str:
    """The receipt of the answer that a ballot is about.

    Raises:
        NotFound: the tenant has no such ballot.
    """
    query = sa.select(reviews.c.receipt).where(reviews.c.id == name, reviews.c.tenant == tenant)
    with store.database.read() as connection:
        receipt = connection.scalar(query)
    if receipt is None:
        raise NotFound(f"there is no `{name[:100]}` to be judged")
    return str(receipt)


def judged(
    store: Exchanges, *, tenant: str | None = None, adapter: str | None = None
) -> list[Review]:
    """All judgements, in the order in which they were given."""
    query = sa.select(reviews).where(reviews.c.choice.is_not(None))
    for column, value in ((reviews.c.tenant, tenant), (reviews.c.adapter, adapter)):
        if value is not None:
            query = query.where(column == value)
    with store.database.read() as connection:
        rows = connection.execute(query.order_by(reviews.c.judged, reviews.c.sequence)).all()
    return [_review(row._mapping) for row in rows]


def _held(connection: Connection, tenant: str, reviewer: str, adapter: str | None) -> AnyRow | None:
    """What the reviewer was shown and has not judged."""
    query = sa.select(reviews).where(
        reviews.c.tenant == tenant, reviews.c.reviewer == reviewer, reviews.c.choice.is_(None)
    )
    if adapter is not None:
        query = query.where(reviews.c.adapter == adapter)
    return connection.execute(query.order_by(reviews.c.sequence).limit(1)).one_or_none()


def _reserve(
    connection: Connection,
    tenant: str,
    reviewer: str,
    adapter: str | None,
    now: float,
    without: Sequence[str],
) -> AnyRow | None:
    """Take the next place in the queue: pairs first, and of each what one has judged already."""
    for query in _open(tenant, reviewer, adapter, now):
        readable = query.selected_columns.receipt.not_in(without)
        found = connection.execute(query.where(readable).limit(1)).one_or_none()
        if found is None:
            continue
        shown = f"{found.receipt}\n{found.against}"
        coin = hashlib.sha256(shown.encode()).digest()[0] % 2
        name = f"rv-{secrets.token_hex(12)}"
        connection.execute(
            sa.insert(reviews).values(
                id=name,
                receipt=found.receipt,
                shadow=found.shadow,
                tenant=tenant,
                adapter=found.adapter,
                release=found.release,
                against=found.against,
                reviewer=reviewer,
                first=(coin + found.seen) % 2 if found.shadow else 0,
                choice=None,
                created=now,
                judged=None,
            )
        )
        return connection.execute(sa.select(reviews).where(reviews.c.id == name)).one()
    return None


def _waiting(
    connection: Connection, tenant: str, reviewer: str, adapter: str | None, now: float
) -> int:
    counts = (
        connection.scalar(sa.select(sa.func.count()).select_from(query.subquery()))
        for query in _open(tenant, reviewer, adapter, now)
    )
    return sum(count or 0 for count in counts)


def _open(
    tenant: str, reviewer: str, adapter: str | None, now: float
) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Pairs, and answers without another one, that this reviewer may still judge; none that says
    what the other one says, since there is nothing to choose."""
    different = sa.and_(shadows.c.receipt == exchanges.c.receipt, ~shadows.c.same)
    pairs = _of(exchanges.join(shadows, different), shadows.c.id, shadows.c.release)
    alone = _of(exchanges, sa.literal(""), sa.literal("")).where(
        ~sa.exists(sa.select(shadows.c.id).where(different))
    )
    found = []
    for query in (pairs, alone):
        query = query.where(exchanges.c.tenant == tenant, exchanges.c.expires > now)
        if adapter is not None:
            query = query.where(exchanges.c.adapter == adapter)
        table = query.subquery()
        of_it = sa.and_(reviews.c.receipt == table.c.receipt, reviews.c.shadow == table.c.shadow)
        seen = sa.select(sa.func.count()).select_from(reviews).where(of_it).scalar_subquery()
        own = sa.exists(sa.select(reviews.c.id).where(of_it, reviews.c.reviewer == reviewer))
        found.append(
            sa.select(table, seen.label("seen"))
            .where(seen < REVIEWERS, ~own)
            .order_by(seen.desc(), table.c.sequence)
        )
    return found[0], found[1]


def _of(
    source: sa.FromClause, shadow: sa.ColumnElement[str], against: sa.ColumnElement[str]
) -> sa.Select[Any]:
    own = exchanges.c
    return sa.select(
        own.sequence,
        own.receipt,
        own.adapter,
        sa.case((own.release == "", own.base), else_=own.release).label("release"),
        shadow.label("shadow"),
        against.label("against"),
    ).select_from(source)


def _ballot(store: Exchanges, row: AnyRow, waiting: int) -> Ballot:
    exchange = store.get(row.tenant, row.receipt)
    answers = [exchange.text]
    if row.shadow:
        answers.append(store.files.read(row.tenant, row.shadow)["answer"])
        if row.first:
            answers.reverse()
    return Ballot(row.id, exchange, tuple(answers), _CHOICES[len(answers)], waiting)


def _review(values: Any) -> Review:
    return Review(**{name: values[name] for name in Review.__slots__})
