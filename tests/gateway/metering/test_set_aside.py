"""A line of the spool that is no event stops neither the lines after it nor the next gateway."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.meter import SET_ASIDE, Meter
from adapterworks.gateway.metering.spool import Segment, put_aside
from adapterworks.gateway.metering.usage import insert_events, usage
from adapterworks.manifests.errors import Refused, Unavailable
from adapterworks.registry.index.database import Database

GOOD: dict[str, Any] = {
    "request_id": "r", "tenant": "t", "release": "d", "ref": "m@1", "prompt_tokens": 3,
    "completion_tokens": 4, "status": 200, "started": 1_795_521_600.0,
}  # fmt: skip
WRONG: list[dict[str, Any]] = [
    {"prompt_tokens": "x"},
    {"prompt_tokens": -1},
    {"completion_tokens": 1.5},
    {"completion_tokens": True},
    {"completion_tokens": 2**53 + 1},
    {"sequences": None},
    {"tenant": 5},
    {"user": "a\0b"},
    {"started": "now"},
    {"seconds": float("inf")},
    {"started": float("nan")},
    {"started": 1e18},
    {"started": 10**400},
    {"started": -1.0},
    {"cold_load": "x"},
    {"estimated": 1},
    {"user": "\ud800"},
    {"status": 2**40},
]


@pytest.mark.parametrize("values", WRONG, ids=str)
def test_an_event_has_counts_and_texts(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no"):
        UsageEvent(**{**GOOD, **values})
    with pytest.raises(ValueError, match="is no"):
        UsageEvent.from_line(json.dumps({**GOOD, **values}).encode())


def test_a_line_of_an_older_program_is_an_event() -> None:
    event = UsageEvent.from_line(json.dumps(GOOD).encode())
    assert (event.sequences, event.cached_tokens, event.user, event.estimated) == (1, 0, "", False)
    assert (event.reasoning_tokens, event.seconds, event.cold_load) == (0, 0.0, False)
    assert UsageEvent(**{**GOOD, "prompt_tokens": 2**53}).prompt_tokens == 2**53
    assert UsageEvent.from_line(event.to_line()) == event


def test_a_line_that_is_no_event_is_put_aside(database: Database, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    lines = [b"[]", b"5", b'{"request_id": "lost"}', b"no json"]
    lines += [json.dumps({**GOOD, "request_id": "w", **values}).encode() for values in WRONG]
    good = [json.dumps({**GOOD, "request_id": f"r{n}"}).encode() for n in range(3)]
    segment = Segment.create(spool)
    segment.append([good[0], *lines, good[1], good[2]])
    segment.close()
    meter = Meter(database, spool=spool)
    meter.start()
    try:
        deadline = time.monotonic() + 60
        while meter.backlog:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert meter.set_aside == len(lines)
        assert meter._drainer is not None
        assert meter._drainer.is_alive()
        meter.record(UsageEvent(**{**GOOD, "request_id": "after"})).result(timeout=60)
    finally:
        meter.close()
    (row,) = usage(database, by=())
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (4, 12, 16)
    assert (spool / SET_ASIDE).read_bytes().splitlines() == lines
    assert [path.name for path in spool.iterdir()] == [SET_ASIDE]


@pytest.mark.parametrize("gone", ["r0", "r4"])
def test_an_event_that_the_index_does_not_take_holds_up_no_other(
    gone: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else it may be that no check here knows."""
    lines = [json.dumps({**GOOD, "request_id": f"r{n}"}).encode() for n in range(5)]
    lines.insert(1, b"no json")
    away = [Unavailable("the index is away")]

    def insert(database: Database, events: Sequence[UsageEvent]) -> int:
        if any(event.request_id == "r3" for event in events):
            raise OverflowError("int too large")
        # While they are inserted one by one, before the one that is not taken, or after it.
        if away and [event.request_id for event in events] == [gone]:
            raise away.pop()
        return insert_events(database, events)

    monkeypatch.setattr("adapterworks.gateway.metering.meter.insert_events", insert)
    meter = Meter(database, spool=tmp_path)
    segment = Segment.create(tmp_path)
    segment.append(lines)
    meter._segments.append(segment)
    with pytest.raises(Unavailable):
        meter._drain_segments(final=True)
    assert (meter.set_aside, meter.backlog) == (0, segment.size)
    meter._drain_segments(final=True)
    assert (meter.set_aside, meter.backlog) == (2, 0)
    (row,) = usage(database, by=())
    assert row.requests == 4
    junk, aside = (tmp_path / SET_ASIDE).read_bytes().splitlines()  # each of them once
    assert junk == b"no json"
    assert UsageEvent.from_line(aside) == UsageEvent.from_line(lines[4])


@pytest.mark.parametrize(
    "error",
    [Refused("not granted"), sa.exc.ProgrammingError("INSERT", {}, Exception("no such table"))],
)
def test_an_index_that_takes_nothing_is_no_fault_of_the_events(
    error: Exception, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert(*_: object) -> int:
        raise error

    monkeypatch.setattr("adapterworks.gateway.metering.meter.insert_events", insert)
    meter = Meter(database, spool=tmp_path)
    segment = Segment.create(tmp_path)
    segment.append([json.dumps(GOOD).encode()])
    meter._segments.append(segment)
    with pytest.raises(type(error)):
        meter._drain_segments(final=True)
    assert (meter.set_aside, meter.backlog) == (0, segment.size)
    segment.close()


def test_what_is_put_aside_is_its_owners_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("adapterworks.gateway.metering.spool.os.fsync", synced.append)
    path = tmp_path / SET_ASIDE
    mask = os.umask(0)
    try:
        for line in (b"one", b"two"):
            put_aside(path, line)
    finally:
        os.umask(mask)
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(synced) == 2
    for descriptor in set(synced):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_meter_makes_the_folders_of_its_spool(database: Database, tmp_path: Path) -> None:
    Meter(database, spool=tmp_path / "state" / "spool")
    assert (tmp_path / "state" / "spool").is_dir()
