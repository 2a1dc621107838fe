"""Deliveries in the index: each event once for each address, until it was taken or given up.

Invariants:
- what happened after an address was first seen is told to it, also if no gateway ran meanwhile;
- a delivery that a gateway took and did not finish is taken by the next one: at least once, with
  the same id, by which a receiver knows what it has had;
- what is given up stays, for `adapters webhook list` and `resend`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.storage.webhooks import addresses, deliveries
from adapterworks.gateway.webhooks.events import Gates, WebhookEvent, ended_jobs, logged, of_log
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.index.database import AnyRow, Database
from adapterworks.registry.index.schema import log

LOCK = "webhooks"
STATES = ("due", "sent", "dropped")
TAKEN_S = 60.0  # a delivery is its taker's for so long; longer than one attempt takes
KEPT_S = 30 * 86400.0
# Pauses before the second attempt and so on, as the specification suggests; the last is given up.
PAUSES_S = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
# Longer than a write may wait for the index, so that none that ended a job commits unseen.
_LATE_S = 600.0
_SWEEP_S = 3600.0
_PAGE = 500  # values in one statement


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one address. Times are seconds since the epoch.

    Attributes:
        tried: how often it was sent.
        state: `due`, `sent` or `dropped`.
        said: what came of the last attempt.
    """

    address: str
    event: str
    type: str
    body: str
    made: float
    due: float
    tried: int
    state: str
    said: str


class Outbox:
    """What is to be told to whom.

    Args:
        gates: reads what a build's gates said.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, gates: Gates, clock: Callable[[], float]) -> None:
        self._database, self._gates, self._clock = database, gates, clock
        self._swept = 0.0

    def collect(self, wanting: Sequence[tuple[str, Callable[[str], bool]]]) -> None:
        """Make deliveries of what happened; an address that is new is told from now on.

        Args:
            wanting: addresses by name, and which types of events each is told.
        """
        for name, wants in wanting:
            now = self._clock()
            with self._database.read() as connection:
                row = _address(connection, name)
                if row is not None:
                    # Where the clock was set back, jobs end before what was looked at already.
                    jobs_from = min(row.jobs_from, now)
                    events, log_from = logged(connection, row.log_from)
                    found = [one for event in events for one in of_log(event, self._gates)]
                    found = [*ended_jobs(connection, jobs_from), *found]
                    found = [one for one in found if wants(one.type)]
                    found = _unknown(connection, name, found)
                    moved = log_from > row.log_from or now - jobs_from > _LATE_S + _SWEEP_S
                    moved |= jobs_from < row.jobs_from
                    if not found and not moved:
                        continue
            with self._write() as connection:
                if row is None:
                    _begin(connection, name, now)
                    continue
                _add(connection, name, _unknown(connection, name, found), now)
                connection.execute(
                    sa.update(addresses)
                    .where(addresses.c.name == name)
                    .values(log_from=log_from, jobs_from=max(jobs_from, now - _LATE_S))
                )
        self._sweep()

    def take(self, names: Sequence[str], limit: int) -> list[Delivery]:
        """Deliveries that are due, the oldest first; they are the caller's for `TAKEN_S`."""
        now = self._clock()
        # One that was never tried is due at once; where it seems not, the clock was set back.
        ahead = sa.and_(deliveries.c.tried == 0, deliveries.c.due > now + 2 * TAKEN_S)
        query = sa.select(deliveries).where(
            deliveries.c.state == "due",
            sa.or_(deliveries.c.due <= now, ahead),
            deliveries.c.address.in_(names),
        )
        query = query.order_by(deliveries.c.due).limit(limit)
        with self._database.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return []
        with self._write() as connection:
            taken = [_delivery(row) for row in connection.execute(query)]
            for one in taken:
                _set(connection, one, due=now + TAKEN_S)
        return taken

    def sent(self, delivery: Delivery, said: str) -> None:
        """It was taken."""
        with self._write() as connection:
            _set(connection, delivery, state="sent", tried=delivery.tried + 1, said=said)

    def failed(self, delivery: Delivery, said: str, *, for_good: bool = False) -> bool:
        """It was not; returns whether it is tried again.

        Args:
            for_good: the address says that it does not exist any more.
        """
        again = not for_good and delivery.tried < len(PAUSES_S)
        due = self._clock() + PAUSES_S[delivery.tried] if again else delivery.due
        state = "due" if again else "dropped"
        with self._write() as connection:
            _set(connection, delivery, state=state, due=due, tried=delivery.tried + 1, said=said)
        return again

    def list(self, *, state: str | None = None, limit: int = 50) -> list[Delivery]:
        """Deliveries, newest first."""
        query = sa.select(deliveries).order_by(deliveries.c.made.desc(), deliveries.c.event)
        if state is not None:
            query = query.where(deliveries.c.state == state)
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(query.limit(limit))]

    def resend(self, event: str, address: str | None = None) -> int:
        """Have an event sent again, now; returns to how many addresses.

        Raises:
            NotFound: no delivery of that event.
        """
        chosen = deliveries.c.event == event
        if address is not None:
            chosen = sa.and_(chosen, deliveries.c.address == address)
        again = sa.update(deliveries).where(chosen).values(state="due", due=self._clock(), tried=0)
        with self._write() as connection:
            count = connection.execute(again).rowcount
        if not count:
            raise NotFound(f"no delivery of `{event[:80]}`", hint="see `adapters webhook list`")
        return count

    def _sweep(self) -> None:
        """Remove what was sent or given up long ago."""
        now = self._clock()
        if now - self._swept < _SWEEP_S:
            return
        self._swept = now
        old = sa.and_(deliveries.c.state != "due", deliveries.c.made < now - KEPT_S)
        with self._database.read() as connection:
            if (
                connection.execute(sa.select(deliveries.c.event).where(old).limit(1)).first()
                is None
            ):
                return
        with self._write() as connection:
            connection.execute(sa.delete(deliveries).where(old))

    def _write(self) -> AbstractContextManager[Connection]:
        return self._database.write(lock=LOCK)


def _address(connection: Connection, name: str) -> AnyRow | None:
    return connection.execute(sa.select(addresses).where(addresses.c.name == name)).first()


def _begin(connection: Connection, name: str, now: float) -> None:
    if _address(connection, name) is None:  # another gateway may have been faster
        newest = connection.scalar(sa.select(sa.func.max(log.c.sequence))) or 0
        row = {"name": name, "jobs_from": now, "log_from": newest}
        connection.execute(sa.insert(addresses).values(**row))


def _unknown(connection: Connection, name: str, found: list[WebhookEvent]) -> list[WebhookEvent]:
    """Those of which no delivery to this address is here."""
    known: set[str] = set()
    for begin in range(0, len(found), _PAGE):
        page = [one.id for one in found[begin : begin + _PAGE]]
        query = sa.select(deliveries.c.event).where(
            deliveries.c.address == name, deliveries.c.event.in_(page)
        )
        known |= set(connection.scalars(query))
    return [one for one in found if one.id not in known]


def _add(connection: Connection, name: str, found: list[WebhookEvent], now: float) -> None:
    rows = [
        {
            "address": name, "event": one.id, "type": one.type, "body": one.body(),
            "made": now, "due": now, "tried": 0, "state": "due", "said": "",
        }
        for one in found
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(deliveries), rows)


def _set(connection: Connection, one: Delivery, **values: object) -> None:
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.address == one.address, deliveries.c.event == one.event)
        .values(**values)
    )


def _delivery(row: AnyRow) -> Delivery:
    return Delivery(**row._asdict())
