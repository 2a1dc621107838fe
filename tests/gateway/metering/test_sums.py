"""What is billed, added up by hand; and the spool's edges, each at its byte."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from adapterworks.gateway.metering import meter as metering
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.meter import Meter
from adapterworks.gateway.metering.spool import Segment, adopt_orphans
from adapterworks.gateway.metering.usage import UsageRow, day_of, insert_events, usage
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.registry.index.database import Database

NOON = 1_795_521_600.0  # 2026-11-24T12:00:00Z
DAY = 86400.0


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Database]:
    """An empty index with the gateway's tables."""
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    migrate(database)
    yield database
    database.close()


def event(name: str, prompt: int, completion: int, **values: object) -> UsageEvent:
    given = {"status": 200, "started": NOON, "tenant": "t", "release": "sha256:aa", **values}
    return UsageEvent(
        request_id=name, ref="m@1", prompt_tokens=prompt, completion_tokens=completion,
        **given,  # type: ignore[arg-type]
    )  # fmt: skip


def test_each_sum_is_the_sum_of_its_events(index: Database) -> None:
    """In three batches: 10 + 1 + 100 prompt and 5 + 2 + 0 completion tokens of release aa."""
    assert insert_events(index, [event("a", 10, 5), event("b", 1, 2, status=400)]) == 2
    assert insert_events(index, [event("c", 100, 0, status=500, cold_load=True)]) == 1
    assert insert_events(index, [event("d", 7, 9, release="sha256:bb", status=399)]) == 1
    assert usage(index, by=("release",)) == [
        UsageRow({"release": "sha256:aa"}, 3, 2, 1, 111, 7),
        UsageRow({"release": "sha256:bb"}, 1, 0, 0, 7, 9),
    ]
    assert usage(index, by=())[0].to_json() == {
        "requests": 4, "failures": 2, "cold_loads": 1, "prompt_tokens": 118,
        "completion_tokens": 16, "total_tokens": 134,
    }  # fmt: skip


def test_few_statements_insert_any_number_of_events(index: Database) -> None:
    """Each connection keeps its prepared statements: of 60 sizes they were 2 MB of each."""
    texts: set[str] = set()

    @sa.event.listens_for(index.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO gateway_usage_events"):
            texts.add(statement)

    for count in range(1, 61):
        events = [event(f"r{count}-{n}", 1, 0) for n in range(count)]
        assert insert_events(index, [*events, events[0]]) == count
        assert insert_events(index, events) == 0
    assert insert_events(index, [event(f"many-{n}", 1, 0) for n in range(341)]) == 341
    assert len(texts) == 5
    assert usage(index, by=())[0].requests == 60 * 61 // 2 + 341


def test_since_and_until_include_their_days(index: Database) -> None:
    insert_events(index, [event(f"r{n}", 1, 0, started=NOON + n * DAY) for n in range(4)])

    def days(**limits: str) -> list[str]:
        return [row.group["day"][-2:] for row in usage(index, by=("day",), **limits)]  # type: ignore[arg-type]

    assert days() == ["24", "25", "26", "27"]
    assert days(since="2026-11-25") == ["25", "26", "27"]
    assert days(until="2026-11-25") == ["24", "25"]
    assert days(since="2026-11-25", until="2026-11-26") == ["25", "26"]


def test_a_day_is_a_day_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half past twelve at night in UTC is the day before in New York."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert day_of(NOON - 11.5 * 3600) == "2026-11-24"
        assert day_of(NOON + 11.9 * 3600) == "2026-11-24"
        assert day_of(NOON + 12 * 3600) == "2026-11-25"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_could_not_be_synced_is_cut_off_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = Segment.create(tmp_path)
    segment.append([b"one"])
    size = segment.path.stat().st_size
    assert size == segment.size == len(b"00000000 one\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            segment.append([b"two"])
    assert segment.path.stat().st_size == segment.size == size
    assert not segment.open
    assert segment.read(10) == [b"one"]
    segment.close()


def test_a_write_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take fewer bytes than it is given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    segment = Segment.create(tmp_path)
    segment.append([b"first", b"second"])
    assert segment.read(10) == [b"first", b"second"]
    segment.close()


def test_lines_are_read_once_in_order_and_drained_when_they_are_in_the_index(
    tmp_path: Path,
) -> None:
    segment = Segment.create(tmp_path)
    segment.append([b"a", b"b", b"c"])
    assert segment.backlog == segment.size == 3 * len(b"00000000 a\n")
    assert segment.read(2) == [b"a", b"b"]
    assert segment.read(2) == [b"a", b"b"]  # they are not in the index yet
    segment.advance()
    assert segment.backlog == len(b"00000000 c\n")
    assert segment.read(2) == [b"c"]
    segment.append([b"d"])
    segment.advance()
    assert segment.read(2) == [b"d"]
    segment.advance()
    assert (segment.read(2), segment.backlog) == ([], 0)
    segment.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_damaged_lines_only_is_done_with(tmp_path: Path) -> None:
    """Else it would be read for ever, and never removed."""
    segment = Segment.create(tmp_path)
    segment.append([b"a", b"b"])
    segment.path.write_bytes(segment.path.read_bytes().replace(b" a", b" x").replace(b" b", b" y"))
    assert segment.read(10) == []
    assert segment.backlog == 0
    segment.close()


def test_the_dead_are_inherited_oldest_first(tmp_path: Path) -> None:
    made = [Segment.create(tmp_path) for _ in range(3)]
    for age, segment in zip((20, 30, 10), made, strict=True):
        segment.append([b"%d" % age])
        os.utime(segment.path, (NOON - age, NOON - age))
    living = made.pop()
    for segment in made:
        segment.close()
    orphans = adopt_orphans(tmp_path)
    assert [orphan.read(9) for orphan in orphans] == [[b"30"], [b"20"]]
    assert [orphan.open for orphan in orphans] == [False, False]
    assert adopt_orphans(tmp_path) == []
    for segment in (living, *orphans):
        segment.close()


def test_a_full_disk_and_a_client_that_left_do_not_end_the_writer(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter(index, spool=tmp_path / "spool")
    left, stayed = meter.record(event("left", 1, 1)), meter.record(event("stayed", 2, 2))
    assert left.cancel()
    with monkeypatch.context() as patch:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(Segment, "append", lambda *_: full(0))
        meter.start()
        with pytest.raises(OSError, match="No space"):
            stayed.result(timeout=20)
    meter.record(event("after", 4, 4)).result(timeout=20)
    meter.close()
    assert usage(index, by=())[0].prompt_tokens == 4


def test_events_of_a_moment_share_an_fsync_if_asked_to(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    append = Segment.append

    def noted(segment: Segment, lines: list[bytes]) -> None:
        batches.append(len(lines))
        append(segment, lines)

    monkeypatch.setattr(Segment, "append", noted)
    meter = Meter(index, spool=tmp_path / "spool", commit_seconds=2.0)
    meter.start()
    first = meter.record(event("first", 1, 1))
    time.sleep(0.05)
    meter.record(event("second", 2, 2)).result(timeout=20)
    assert first.done()
    assert batches == [2]
    meter.close()


def test_a_segment_is_full_at_four_mebibytes(index: Database, tmp_path: Path) -> None:
    meter = Meter(index, spool=tmp_path / "spool")
    first = meter._current_segment()
    first.size = 4 * 1024 * 1024 - 1
    assert meter._current_segment() is first
    first.size += 1
    second = meter._current_segment()
    assert second is not first
    assert (first.open, second.open) == (False, True)
    assert meter._current_segment() is second
    second.open = False  # a failed append: nothing more goes there
    assert meter._current_segment() is not second
    for segment in meter._segments:
        segment.close()


def test_orphans_are_looked_for_at_the_start_and_after_a_while(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead do not appear every second, and looking costs a lock on every file."""
    looked: list[float] = []
    monkeypatch.setattr(metering, "DRAIN_SECONDS", 0.01)
    meter = Meter(index, spool=tmp_path / "spool")
    monkeypatch.setattr(meter, "_adopt", lambda: looked.append(time.monotonic()))
    meter.start()
    for n in range(3):
        meter.record(event(f"r{n}", 1, 1)).result(timeout=20)
        time.sleep(0.03)  # the drainer goes round
    meter.close()
    assert len(looked) == 1


def test_orphans_are_looked_for_every_ten_seconds(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds at 0, 4, 8, 12, …: after ten seconds is at 12, and ten later at 24."""
    meter = Meter(index, spool=tmp_path / "spool")
    looked: list[float] = []
    clock = SimpleNamespace(now=0.0)

    def wait(seconds: float) -> None:
        clock.now += 4.0

    nothing = SimpleNamespace(wait=lambda seconds: None, is_set=lambda: clock.now >= 32)
    monkeypatch.setattr(metering, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(meter, "_adopt", lambda: looked.append(clock.now))
    monkeypatch.setattr(meter, "_written", SimpleNamespace(wait=wait, clear=lambda: None))
    monkeypatch.setattr(meter, "_closing", nothing)
    meter._drain(Supervisor().worker("meter drainer"))
    assert looked == [12.0, 24.0]


def test_a_process_can_end_whatever_became_of_its_meter(index: Database, tmp_path: Path) -> None:
    meter = Meter(index, spool=tmp_path / "spool")
    meter.start()
    try:
        assert meter._writer is not None
        assert meter._drainer is not None
        assert meter._writer.daemon
        assert meter._drainer.daemon
    finally:
        meter.close()


def test_what_is_not_durable_yet_is_not_read(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path)
    segment.append([b"durable"])
    line = segment.path.read_bytes()
    with segment.path.open("ab") as file:
        file.write(line)  # as a writer does before its fsync
    assert segment.read(10) == [b"durable"]
    segment.advance()
    assert segment.read(10) == []
    segment.close()


def test_a_segment_that_still_has_events_is_kept(
    index: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that comes while the last ones are being inserted, before the file is removed."""
    meter = Meter(index, spool=tmp_path / "spool")
    segment = meter._current_segment()
    segment.append([event("before", 1, 1).to_line()])
    advance = segment.advance

    def late() -> None:
        advance()
        if segment.size < 400:
            segment.append([event("meanwhile", 2, 2).to_line()])

    # `read` has been told that there is nothing more when the writer comes.
    read = segment.read
    reads = iter([read, lambda count: [], read, lambda count: []])
    monkeypatch.setattr(segment, "advance", late)
    monkeypatch.setattr(segment, "read", lambda count: next(reads)(count))
    meter._drain_segments(final=True)
    assert segment.path.exists()
    assert meter.backlog > 0
    meter._drain_segments(final=True)
    assert not segment.path.exists()
    assert usage(index, by=())[0].prompt_tokens == 3
    assert meter.backlog == 0
