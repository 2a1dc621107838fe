"""Work that is for a client alone and ends when it has gone, as far as a thread lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """What comes of work; None where the client went before, and the work was cancelled.

    Args:
        receive: the request's, whose body was read.

    Raises:
        Exception: what the work raises.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def in_thread(work: Callable[[], T]) -> T:
    """Run something in a thread; whoever is cancelled stays until the thread has ended, so that
    whoever counts turns counts threads.

    Raises:
        Exception: what the work raises.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    thread.add_done_callback(_seen)
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait({thread})
        raise


def _seen(thread: asyncio.Future[T]) -> None:
    """What failed after its client had gone is nobody's."""
    if not thread.cancelled():
        thread.exception()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
