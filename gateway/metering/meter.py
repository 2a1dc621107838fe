"""Metering: every request's tokens exactly once, across concurrency, outages and `kill -9`.

    record → spool (append, fsync: acknowledged) → index (insert, sums) → spool segment removed

Invariants:
- Acknowledged means on disk: the future that `record` returns is done when the event's line is
  fsynced. Events that come during an fsync share the next one; `commit_seconds` waits for more.
  The only request that is open, on a disk that is fast, is written by its own thread at once: there
  is nobody whom that holds up, and two changes of threads cost as much as the fsync.
- Counted once: an event is inserted under its request id, where it conflicts it is dropped, and the
  sums are raised by inserted events only, in the same transaction. So a spool may be drained any
  number of times, by any process.
- A line that is no event, or one that the index does not take, is put aside and reported; it stops
  neither this drainer nor the next.
- On a full disk what is in flight is written into a reserve, and `accepts` says no until there is
  room again: the engine is not asked for what could not be counted.
- Nothing is lost: a segment is removed only when the index has all of it. What a killed process
  left is drained by the next one that starts on the spool, or by one that is running.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import sqlalchemy as sa

from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.spool import Reserve, Segment, adopt_orphans, put_aside
from adapterworks.gateway.metering.usage import insert_events, prune
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.registry.index.database import Database

SEGMENT_BYTES = 4 * 1024 * 1024
DRAIN_SECONDS = 1.0
ORPHAN_SECONDS = 10.0
PRUNE_SECONDS = 3600.0
REFUSED_SECONDS = 5.0  # after an event could not be written at all
FAST_SECONDS = 0.001  # a disk whose last fsync took less
BATCH = 1000
SET_ASIDE = "set-aside.lines"
_log = logging.getLogger(__name__)


class Meter:
    """One process's meter on a spool folder, which several processes may share.

    Attributes:
        set_aside: lines that were no events, and are kept for a person to look at.
        counted: what was durable here by then, on the monotonic clock, is in the index.
    """

    def __init__(
        self,
        database: Database,
        *,
        spool: Path,
        commit_seconds: float = 0.0,
        keep_days: int | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        migrate(database)
        spool.mkdir(parents=True, exist_ok=True)
        self._database = database
        self._spool = spool
        self._commit_seconds = commit_seconds
        self._keep_days = keep_days
        self._queue: queue.SimpleQueue[tuple[UsageEvent, Future[None]] | None] = queue.SimpleQueue()
        self._segments: list[Segment] = []  # oldest first; the last one is written to
        self._lock = threading.Lock()  # guards the list above
        self._writing = threading.Lock()  # one append at a time
        self._append_seconds = float("inf")  # of the last append
        self.set_aside = 0
        self.counted = time.monotonic()
        self._reserve = Reserve(spool)
        self._refused_until = 0.0
        self._open = 0  # requests that have begun and are not recorded
        self._closing = threading.Event()
        self._written = threading.Event()
        self._supervisor = supervisor or Supervisor()
        self._writer: threading.Thread | None = None
        self._drainer: threading.Thread | None = None

    def start(self) -> None:
        """Take over what dead processes left and begin to write."""
        self._adopt()
        self._writer = self._supervisor.thread("meter writer", self._write)
        self._drainer = self._supervisor.thread("meter drainer", self._drain)

    def begin(self) -> None:
        """A request has begun that will be recorded, by the thread that calls this."""
        self._open += 1

    def pass_over(self) -> None:
        """One that has begun is not recorded: it is asked again, and that one is."""
        self._open = max(0, self._open - 1)

    def record(self, event: UsageEvent) -> Future[None]:
        """Write an event, or queue it and return at once; the future is done when it is durable.

        The future raises OSError if the spool cannot be written (disk full).
        """
        future: Future[None] = Future()
        alone = self._open == 1 and self._append_seconds < FAST_SECONDS and not self._commit_seconds
        self._open = max(0, self._open - 1)
        if alone and self._writing.acquire(blocking=False):
            try:
                self._append([(event, future)])
            finally:
                self._writing.release()
        else:
            self._queue.put((event, future))
        return future

    def close(self) -> None:
        """Write what is queued and drain it; what the index does not take stays in the spool."""
        if self._writer is None or self._drainer is None:  # it never started
            return
        self._queue.put(None)
        self._writer.join()
        self._closing.set()
        self._written.set()
        self._drainer.join()
        with self._lock:
            for segment in self._segments:
                segment.close()
        self._reserve.close()

    def accepts(self) -> bool:
        """Whether what is asked of the engine now can be counted afterwards."""
        if self._writer is None:
            return True
        return time.monotonic() >= self._refused_until and self._reserve.take()

    @property
    def backlog(self) -> int:
        """Bytes of events that are durable here and not yet in the index."""
        with self._lock:
            return sum(segment.backlog for segment in self._segments)

    def _write(self, worker: Worker) -> None:
        running = True
        while running:
            batch = []
            item = self._queue.get()
            deadline = time.monotonic() + self._commit_seconds
            while item is not None:
                batch.append(item)
                try:
                    item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
            else:
                running = False
            if batch:
                with self._writing:
                    self._append(batch)
            worker.beat()

    def _append(self, batch: list[tuple[UsageEvent, Future[None]]]) -> None:
        began = time.perf_counter()
        try:
            self._spooled([event.to_line() for event, _ in batch])
        except Exception as error:  # whoever waits for one of these must not wait for ever
            _log.error("usage cannot be written to `%s`: %s", self._spool, error)
            self._refused_until = time.monotonic() + REFUSED_SECONDS
            for _, future in batch:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
            return
        self._append_seconds = time.perf_counter() - began
        for _, future in batch:
            # Whoever waited may have gone with its client; the event counts all the same.
            if future.set_running_or_notify_cancel():
                future.set_result(None)
        self._written.set()

    def _spooled(self, lines: list[bytes]) -> None:
        """Append lines; on a full disk in the place of the reserve.

        Raises:
            OSError: the spool cannot be written.
        """
        try:
            self._current_segment().append(lines)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.held:
                raise
            _log.error("the disk of the spool `%s` is full: no request is let in", self._spool)
            self._reserve.give()
            self._current_segment().append(lines)

    def _current_segment(self) -> Segment:
        with self._lock:
            current = self._segments[-1] if self._segments else None
            if current is None or not current.open or current.size >= SEGMENT_BYTES:
                if current is not None:
                    current.open = False
                current = Segment.create(self._spool)
                self._segments.append(current)
            return current

    def _drain(self, worker: Worker) -> None:
        failing = False
        orphans_at = time.monotonic() + ORPHAN_SECONDS
        prune_at, more = time.monotonic(), False
        while True:
            last, began = self._closing.is_set(), time.monotonic()
            try:
                if time.monotonic() >= orphans_at:
                    orphans_at = time.monotonic() + ORPHAN_SECONDS
                    self._adopt()
                self._drain_segments(final=last)
                self.counted = began
                if self._keep_days is not None and not last and time.monotonic() >= prune_at:
                    more = prune(self._database, days=self._keep_days) > 0
                    prune_at = time.monotonic() + (DRAIN_SECONDS if more else PRUNE_SECONDS)
                worker.beat()
                failing = False
            except Unavailable as error:
                if not failing:
                    _log.warning("usage stays in `%s` for now: %s", self._spool, error)
                failing = True
            if last:
                break
            self._written.wait(DRAIN_SECONDS if failing or more else ORPHAN_SECONDS)
            self._written.clear()
            self._closing.wait(DRAIN_SECONDS)  # gather a batch

    def _drain_segments(self, *, final: bool) -> None:
        with self._lock:
            segments = list(self._segments)
        for segment in segments:
            while lines := segment.read(BATCH):
                self._take(lines)
                segment.advance()
            with self._lock:
                # Read again under the lock: the writer may have appended, then rotated.
                if segment.backlog or (segment.open and not final):
                    continue
                segment.remove()
                self._segments.remove(segment)

    def _take(self, lines: list[bytes]) -> None:
        """Insert the lines' events; what is no event, or is not taken, is put aside.

        That comes last: the lines are read again if the index is away meanwhile, and each is to be
        put aside once.

        Raises:
            Unavailable: the index is away.
            AdapterworksError, sa.exc.ProgrammingError: the index takes none, whatever is in it.
        """
        events: list[UsageEvent] = []
        bad: list[tuple[bytes, Exception]] = []
        for line in lines:
            try:
                events.append(UsageEvent.from_line(line))
            except (ValueError, RecursionError) as error:
                bad.append((line, error))
        bad += self._insert(events)
        for line, why in bad:
            self._put_aside(line, why)

    def _insert(self, events: list[UsageEvent]) -> list[tuple[bytes, Exception]]:
        """Insert them; returns the lines of those that the index does not take, and why."""
        try:
            insert_events(self._database, events)
        except (AdapterworksError, sa.exc.ProgrammingError):
            raise
        except Exception as error:
            if len(events) == 1:
                return [(events[0].to_line(), error)]
            return [bad for event in events for bad in self._insert([event])]
        return []

    def _put_aside(self, line: bytes, error: Exception) -> None:
        aside = self._spool / SET_ASIDE
        put_aside(aside, line)
        self.set_aside += 1
        _log.error("a line of usage is put aside in `%s`: %s", aside, error)

    def _adopt(self) -> None:
        orphans = adopt_orphans(self._spool)
        with self._lock:
            self._segments[:0] = orphans
