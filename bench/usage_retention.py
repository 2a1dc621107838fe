"""Does removing a year of usage events hold up metering, and who gets the disk back?

A real PostgreSQL, with fsync, has a million events of thirteen months. While the events of more
than 31 days go, as `[metering] keep_days` has them go, another thread meters: it inserts sixteen
events at a time. Measured are those insertions beside the deletion and without it, the table's size
after it, and after as many new events as went. On the other side stands the same table in
partitions by month, twelve of which are dropped.

    python -m bench.usage_retention [--events 1000000]
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.usage import insert_events, prune
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.registry.index.database import Database
from bench.report import Row, figure, percentile, show
from tests.postgres import running_server

DAY = 86400.0
MONTHS, KEPT = 13, 31
TABLE, PARTS = "gateway_usage_events", "events_by_month"
_FILL = """
INSERT INTO {table} (request_id, tenant, release, ref, endpoint, status, prompt_tokens,
    completion_tokens, cold_load, started, seconds, key_id)
SELECT md5(({seed} + n)::text), 'tenant-' || mod(n, 50), 'sha256:' || md5(mod(n, 40)::text),
    'medical@' || mod(n, 40), '/v1/chat/completions', 200, 400, 60, false,
    {begin} + {seconds}::float8 * n / {events}, 1.5, md5(mod(n, 90)::text)
FROM generate_series(1, {events}) n
"""


class Metering:
    """A thread that inserts events as a meter does, and remembers how long each time took."""

    def __init__(self, database: Database) -> None:
        self.seconds: list[float] = []
        self._database = database
        self._over = threading.Event()
        self._number = 0
        self._thread = threading.Thread(target=self._go_on)

    def _go_on(self) -> None:
        while not self._over.wait(0.02):
            batch = []
            for _ in range(16):
                self._number += 1
                batch.append(
                    UsageEvent(
                        f"now-{id(self)}-{self._number}", "tenant-1", "sha256:0", "medical@1", 400,
                        60, 200, time.time(),
                    )
                )  # fmt: skip
            began = time.perf_counter()
            insert_events(self._database, batch)
            self.seconds.append(time.perf_counter() - began)

    def rows(self, when: str) -> list[Row]:
        """Median, 99th of a hundred and slowest, in milliseconds."""
        times = [1000 * value for value in self.seconds]
        note = f"{when}, {len(times)} times 16 events"
        return [
            figure("metering them", "ms", times, note=note),
            figure("metering them, p99", "ms", [percentile(times, 99)], note=note),
        ]


@contextmanager
def metering(database: Database) -> Iterator[Metering]:
    """Events are metered while the block runs."""
    meter = Metering(database)
    meter._thread.start()
    try:
        yield meter
    finally:
        meter._over.set()
        meter._thread.join()


def run(url: str, events: int) -> list[Row]:
    """All of it on one server."""
    database = Database(url)
    migrate(database)
    for setting in ("fsync", "full_page_writes"):
        _outside(database, f"ALTER SYSTEM SET {setting} = on")
    _outside(database, "SELECT pg_reload_conf()")
    begin = time.time() - (MONTHS * 30 + KEPT) * DAY
    _fill(database, TABLE, begin, events, seed=0)
    rows = [figure("table and indexes", "MiB", [_size(database, TABLE)], note="before")]
    rows += _partitions(database, begin, events)
    with metering(database) as alone:
        time.sleep(15)
    rows += alone.rows("nothing beside it")
    gone, began = 0, time.perf_counter()
    with metering(database) as beside:
        while some := prune(database, days=KEPT):
            gone += some
            time.sleep(0.02)  # a gateway waits a second
    rows.append(figure("events removed", "", [gone], note="1,000 at once, 20 ms between"))
    rows.append(figure("it took", "s", [time.perf_counter() - began], note="1,000 at once"))
    rows += beside.rows("beside the deletion")
    _outside(database, f"VACUUM {TABLE}")
    rows.append(figure("table and indexes", "MiB", [_size(database, TABLE)], note="after VACUUM"))
    _fill(database, TABLE, time.time() - DAY, gone, seed=events)
    rows.append(
        figure("table and indexes", "MiB", [_size(database, TABLE)], note="as many new events")
    )
    _outside(database, f"ALTER TABLE {TABLE} DISABLE TRIGGER USER")  # they are too young to go
    _outside(database, f"DELETE FROM {TABLE} WHERE started < {time.time() - 3600}")
    _outside(database, f"ALTER TABLE {TABLE} ENABLE TRIGGER USER")
    with metering(database) as rewritten:
        time.sleep(1.0)
        began = time.perf_counter()
        _outside(database, f"VACUUM FULL {TABLE}")
        rows.append(figure("VACUUM FULL", "s", [time.perf_counter() - began]))
    rows += rewritten.rows("beside VACUUM FULL")
    rows.append(figure("table and indexes", "MiB", [_size(database, TABLE)], note="after it"))
    database.close()
    return rows


def _partitions(database: Database, begin: float, events: int) -> list[Row]:
    """The same events in a table by month: what a month's end costs, and what is left."""
    with database.write() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE {PARTS} (LIKE {TABLE} INCLUDING DEFAULTS) PARTITION BY RANGE (started)"
        )
        connection.exec_driver_sql(f"ALTER TABLE {PARTS} ADD PRIMARY KEY (request_id, started)")
        connection.exec_driver_sql(f"CREATE INDEX ON {PARTS} (started)")
        for month in range(MONTHS + 2):
            bounds = (begin + month * 30 * DAY, begin + (month + 1) * 30 * DAY)
            connection.exec_driver_sql(
                f"CREATE TABLE {PARTS}_{month} PARTITION OF {PARTS} "
                f"FOR VALUES FROM ({bounds[0]}) TO ({bounds[1]})"
            )
    _fill(database, PARTS, begin, events, seed=0)
    pieces = [f"{PARTS}_{month}" for month in range(MONTHS + 2)]
    before = sum(_size(database, piece) for piece in pieces)
    times = []
    for piece in pieces[:MONTHS]:
        began = time.perf_counter()
        with database.write() as connection:
            connection.exec_driver_sql(f"DROP TABLE {piece}")
        times.append(1000 * (time.perf_counter() - began))
    left = sum(_size(database, piece) for piece in pieces[MONTHS:])
    return [
        figure("by month: table and indexes", "MiB", [before], note="before"),
        figure("by month: a month dropped", "ms", times, note="13 times"),
        figure("by month: table and indexes", "MiB", [left], note="after it"),
    ]


def _fill(database: Database, table: str, begin: float, events: int, *, seed: int) -> None:
    seconds = MONTHS * 30 * DAY + (KEPT - 1) * DAY if seed == 0 else DAY
    statement = _FILL.format(table=table, begin=begin, seconds=seconds, events=events, seed=seed)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(statement)


def _size(database: Database, table: str) -> float:
    with database.read() as connection:
        return (
            float(connection.scalar(sa.text(f"SELECT pg_total_relation_size('{table}')"))) / 2**20
        )  # type: ignore[arg-type]


def _outside(database: Database, statement: str) -> None:
    """A statement that no transaction may hold."""
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql(statement)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    asked = parser.parse_args()
    with running_server() as url:
        show("Usage events that go", run(url, asked.events), name="usage_retention")
    return 0


if __name__ == "__main__":
    sys.exit(main())
