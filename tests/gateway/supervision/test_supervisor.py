"""What runs in the background: started again whatever it raises, and seen when it stays down."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace

import pytest

from adapterworks.gateway.supervision import supervisor as module
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker


class Clock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of tasks, which take no time."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    # Of that module alone: other loops of this process sleep, too.
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": at_once}))
    return slept


async def test_whatever_a_task_raises_it_is_logged_counted_and_called_again(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    counted: list[str] = []
    supervisor = Supervisor(count=counted.append)
    faults: list[Exception] = [KeyError("x"), RuntimeError("y"), TypeError("z")]

    async def run(worker: Worker) -> None:
        if faults:
            raise faults.pop(0)

    await supervisor.task("poller", run)
    assert not faults
    assert counted == ["poller"] * 3
    assert pauses == [0.5, 1.0, 2.0]
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [
        KeyError, RuntimeError, TypeError,
    ]  # fmt: skip
    assert "`poller` failed" in caplog.records[0].getMessage()
    assert supervisor.workers == {}


async def test_a_task_is_called_again_when_what_it_waited_for_was_cancelled(
    pauses: list[float],
) -> None:
    counted: list[str] = []
    supervisor = Supervisor(count=counted.append)
    again = asyncio.Event()

    async def run(worker: Worker) -> None:
        if worker.failures:
            again.set()
            await asyncio.Event().wait()
        other = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    task = supervisor.task("prover", run)
    await asyncio.wait({task, asyncio.create_task(again.wait())}, return_when="FIRST_COMPLETED")
    assert (counted, again.is_set(), list(supervisor.workers)) == (["prover"], True, ["prover"])
    await supervisor.cancel()  # and its own end is one
    assert task.cancelled()
    assert counted == ["prover"]
    assert supervisor.workers == {}


async def test_the_pause_grows_to_its_most_and_begins_anew_after_a_success(
    pauses: list[float],
) -> None:
    calls = 0

    async def run(worker: Worker) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            worker.beat()
        if calls < 10:
            raise RuntimeError

    await Supervisor().task("poller", run)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 0.5, 1.0]


def test_a_thread_is_called_again_too_until_it_is_told_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    counted: list[str] = []
    supervisor = Supervisor(count=counted.append)
    again = threading.Event()

    def run(worker: Worker) -> None:
        if worker.failures == 2:
            again.set()
            return
        raise SystemExit if worker.failures else ZeroDivisionError

    thread = supervisor.thread("drainer", run)
    assert again.wait(60)
    thread.join(60)
    assert counted == ["drainer"] * 2
    assert thread.daemon

    held = threading.Event()

    def fails(worker: Worker) -> None:
        held.wait(60)
        raise ZeroDivisionError

    failing = supervisor.thread("writer", fails)
    supervisor.end()
    held.set()
    failing.join(60)
    assert not failing.is_alive()  # and not called again
    assert counted == ["drainer", "drainer", "writer"]


def test_a_worker_that_does_not_recover_is_down_and_at_last_hopeless() -> None:
    clock = Clock()
    supervisor = Supervisor(clock=clock)
    worker = supervisor.worker("poller")
    worker.begins()
    worker.raised(RuntimeError("at once"))
    assert supervisor.down == []  # one failure is no outage
    clock.now += 5.5
    worker.begins()
    worker.raised(RuntimeError("still"))
    assert supervisor.down == ["`poller` fails, and is started again"]
    assert supervisor.hopeless == []
    clock.now += 300.0
    assert supervisor.hopeless == ["poller"]
    worker.begins()
    worker.beat()
    assert (supervisor.down, supervisor.hopeless) == ([], [])


def test_a_worker_that_runs_for_a_while_has_recovered_without_a_beat() -> None:
    """A writer that has nothing to write says nothing."""
    clock = Clock()
    supervisor = Supervisor(clock=clock)
    worker = supervisor.worker("writer")
    worker.begins()
    worker.raised(RuntimeError())
    clock.now += 6.0
    worker.begins()
    assert supervisor.down
    clock.now += 15.5
    assert supervisor.down == []
    worker.raised(RuntimeError())  # the first of a new series
    assert supervisor.down == []
    assert worker.pause == 2 * module.PAUSE_SECONDS


def test_a_worker_that_gets_nothing_done_is_down_though_it_raises_nothing() -> None:
    clock = Clock()
    supervisor = Supervisor(clock=clock)
    worker = supervisor.worker("tenants", patience=30.0)
    worker.begins()
    clock.now += 29.0
    assert supervisor.down == []
    clock.now += 2.0
    assert supervisor.down == ["`tenants` has got nothing done for 31 s"]
    worker.beat()
    assert supervisor.down == []


async def test_what_is_done_once_is_kept_and_its_failure_is_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[str] = []
    supervisor = Supervisor(count=counted.append)
    blocked = asyncio.Event()

    async def fail() -> None:
        raise LookupError("lost")

    async def wait() -> None:
        await blocked.wait()

    task = supervisor.once("load", fail(), what="sha256:1")
    waiting = supervisor.once("reload", wait())
    with pytest.raises(LookupError):
        await task
    await asyncio.sleep(0)
    assert counted == ["load"]
    assert caplog.records[0].levelno == logging.ERROR
    assert "load sha256:1" in caplog.records[0].getMessage()
    await supervisor.cancel()
    assert waiting.cancelled()
    assert counted == ["load"]  # being told to end is no failure


async def test_a_counter_that_fails_ends_no_worker(pauses: list[float]) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("the metrics")

    done = False

    async def run(worker: Worker) -> None:
        nonlocal done
        if not worker.failures:
            raise RuntimeError("once")
        done = True

    await Supervisor(count=broken).task("poller", run)
    assert done


async def test_what_is_over_is_not_kept() -> None:
    """A gateway starts a task for each of many requests: they would be its memory after a week."""
    supervisor = Supervisor()

    async def nothing() -> None:
        return None

    for _ in range(3):
        await supervisor.once("short", nothing())
    await asyncio.sleep(0)
    assert not supervisor._tasks
