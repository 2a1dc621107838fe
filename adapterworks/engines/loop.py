"""A loop in a thread of its own, and who waits for what it does.

Invariant: who waits can be interrupted from another thread, and so can we: what was waited for is
cancelled then, not waited out.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from adapterworks.manifests.errors import Unavailable

T = TypeVar("T")


class Loop:
    """Runs coroutines for other threads.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()
        self._waiting: dict[int, Future[Any]] = {}  # by thread
        self._begins = threading.Lock()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the thread do it; what interrupts us interrupts it.

        Raises:
            Unavailable: another thread interrupted it.
        """
        me = threading.get_ident()
        with self._begins:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._waiting[me] = future
        try:
            return future.result()
        except CancelledError as error:
            raise Unavailable("what the engine was asked for was broken off") from error
        except BaseException:
            future.cancel()
            raise
        finally:
            del self._waiting[me]

    def interrupt(self, thread: int) -> None:
        """End what a thread waits for."""
        with self._begins:  # what has begun is waited for
            future = self._waiting.get(thread)
        if future is not None:
            future.cancel()

    def close(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        """End the thread; idempotent.

        Args:
            last: is done before, whoever is interrupted.
        """
        if self._loop.is_closed():
            return
        if last is not None:
            asyncio.run_coroutine_threadsafe(last, self._loop).result()
        asyncio.run_coroutine_threadsafe(_settled(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _settled() -> None:
    """End what is left on the loop; who was cancelled closes what it holds."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
