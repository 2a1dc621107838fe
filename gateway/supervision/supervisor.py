"""Nothing dies unseen: every thread and task that runs in the background is started here.

A worker is a function that returns only when it is told to end. Whatever it raises is logged and
counted, and it is called again, after a pause that doubles from `PAUSE_SECONDS` to
`LONGEST_SECONDS`. What it can expect to fail (an index that is away) it handles itself, and says
`beat` each time that it got something done.

Invariants:
- whatever a worker raises, it runs again, until it is told to end; a cancellation that was meant
  for something it waited for tells it nothing of the kind;
- `down` names a worker that failed and does not recover, or whose last beat is too long ago, and
  `hopeless` one that has failed for so long that only a new process may help.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

PAUSE_SECONDS = 0.5
LONGEST_SECONDS = 10.0
STABLE_SECONDS = 15.0  # above the longest pause: running for so long means recovered
DOWN_SECONDS = 5.0
HOPELESS_SECONDS = 300.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Worker:
    """What is known of one worker. Written by its own thread or task alone.

    Attributes:
        patience: seconds that may pass between two beats; None if it says none.
        beaten: when it last got something done, or was made, monotonic seconds.
        failures: how often it raised, all in all.
        failed: when the present series of failures began, monotonic seconds.
        running: when it was last called; None between two calls.
    """

    name: str
    patience: float | None
    clock: Callable[[], float]
    beaten: float
    failures: int = 0
    pause: float = PAUSE_SECONDS
    failed: float | None = None
    running: float | None = None

    def beat(self) -> None:
        """It got something done."""
        self.beaten = self.clock()
        self.failed = None
        self.pause = PAUSE_SECONDS

    def failing_for(self) -> float:
        """Seconds since it failed without having recovered; 0.0 if it has."""
        failed, running, now = self.failed, self.running, self.clock()
        if failed is None or (running is not None and now - running > STABLE_SECONDS):
            return 0.0
        return now - failed

    def trouble(self) -> str | None:
        """Why it counts as down, for a person; None if it does not."""
        if self.failing_for() > DOWN_SECONDS:
            return f"`{self.name}` fails, and is started again"
        silent = self.clock() - self.beaten
        if self.patience is not None and silent > self.patience:
            return f"`{self.name}` has got nothing done for {silent:.0f} s"
        return None

    def begins(self) -> None:
        """It is called (again)."""
        now = self.clock()
        if self.failures == 0:
            self.beaten = now
        self.running = now

    def raised(self, error: BaseException) -> float:
        """It raised; returns the pause before it is called again."""
        now = self.clock()
        if self.failed is None or self.failing_for() == 0.0:
            self.failed, self.pause = now, PAUSE_SECONDS
        self.running = None
        self.failures += 1
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST_SECONDS)
        _log.error("`%s` failed, again in %.1f s", self.name, pause, exc_info=error)
        return pause


@dataclass
class Supervisor:
    """The workers of one gateway.

    Args:
        count: told the name of whatever raised, once each time; from any thread.
        clock: monotonic seconds.
    """

    count: Callable[[str], None] = lambda name: None
    clock: Callable[[], float] = time.monotonic
    workers: dict[str, Worker] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _ending: threading.Event = field(default_factory=threading.Event)

    def worker(self, name: str, patience: float | None = None) -> Worker:
        """The account of a worker; made on first use."""
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = Worker(name, patience, self.clock, self.clock())
        return worker

    def thread(
        self, name: str, run: Callable[[Worker], None], *, patience: float | None = None
    ) -> threading.Thread:
        """Run a worker in a thread of its own; returns the thread, which has started."""
        worker = self.worker(name, patience)

        def supervised() -> None:
            while not self._ending.is_set():
                worker.begins()
                try:
                    run(worker)
                except BaseException as error:  # SystemExit would end the thread without a word
                    pause = worker.raised(error)
                    self._counted(name)
                    self._ending.wait(pause)
                else:
                    break
            self.workers.pop(name, None)

        thread = threading.Thread(target=supervised, name=name, daemon=True)
        thread.start()
        return thread

    def task(
        self,
        name: str,
        run: Callable[[Worker], Coroutine[Any, Any, None]],
        *,
        patience: float | None = None,
    ) -> asyncio.Task[None]:
        """Run a worker as a task of this event loop, until it is cancelled."""
        worker = self.worker(name, patience)

        async def supervised() -> None:
            try:
                while True:
                    worker.begins()
                    try:
                        await run(worker)
                    except (Exception, asyncio.CancelledError) as error:
                        if _is_ended(error):
                            raise
                        pause = worker.raised(error)
                        self._counted(name)
                        await asyncio.sleep(pause)
                    else:
                        return
            finally:
                self.workers.pop(name, None)

        return self._kept(asyncio.create_task(supervised(), name=name))

    def once(
        self,
        name: str,
        work: Coroutine[Any, Any, None],
        *,
        what: str = "",
        expected: tuple[type[Exception], ...] = (),
    ) -> asyncio.Task[None]:
        """Do something in the background once; what it raises is logged and counted as `name`.

        Whoever awaits the task gets it too.

        Args:
            expected: errors that whoever waits is told of, and nobody else.
        """
        task = self._kept(asyncio.create_task(work, name=f"{name} {what}".strip()))

        def ended(task: asyncio.Task[None]) -> None:
            if task.cancelled() or (error := task.exception()) is None:
                return
            if isinstance(error, expected):
                return
            _log.error("`%s` failed", task.get_name(), exc_info=error)
            self._counted(name)

        task.add_done_callback(ended)
        return task

    def saw(self, name: str, error: Exception) -> None:
        """What a worker survived and could not have expected: logged, and counted as `name`."""
        _log.error("`%s` failed", name, exc_info=error)
        self._counted(name)

    @property
    def down(self) -> list[str]:
        """Why workers count as down, in words; empty if all is well."""
        return [trouble for w in list(self.workers.values()) if (trouble := w.trouble())]

    @property
    def hopeless(self) -> list[str]:
        """The workers that a new process may mend, and nothing else."""
        return [w.name for w in list(self.workers.values()) if w.failing_for() > HOPELESS_SECONDS]

    def end(self) -> None:
        """Threads that wait to be called again are not, from now on."""
        self._ending.set()

    async def drop(self, name: str) -> None:
        """End the tasks of one name, and wait for them."""
        tasks = [task for task in self._tasks if task.get_name() == name]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """End every task that was started here, and wait for it."""
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _counted(self, name: str) -> None:
        with contextlib.suppress(Exception):
            self.count(name)

    def _kept(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        # An event loop keeps only weak references.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_ended(error: BaseException) -> bool:
    """Whether this is the cancellation of the running task, not of another one it waited for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
