"""Who waits for an engine is interrupted from outside; its end is not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from adapterworks.engines.loop import Loop
from adapterworks.engines.vllm import Vllm
from adapterworks.manifests.errors import Unavailable


async def for_ever(begun: threading.Event, ended: list[str]) -> None:
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise


def test_one_thread_is_interrupted_and_no_other() -> None:
    loop, opener = Loop("one"), Vllm.__new__(Vllm)
    opener._loops = {loop}  # type: ignore[assignment]
    ended: list[str] = []
    said: dict[str, BaseException] = {}

    def wait(name: str, begun: threading.Event) -> None:
        try:
            loop.wait(for_ever(begun, ended))
        except BaseException as error:
            said[name] = error

    threads = {}
    for name in ("first", "second"):
        begun = threading.Event()
        threads[name] = threading.Thread(target=wait, args=(name, begun), daemon=True)
        threads[name].start()
        assert begun.wait(60)
    opener.interrupt(threading.get_ident())  # who waits for nothing
    assert threads["second"].ident is not None
    opener.interrupt(threads["second"].ident)
    threads["second"].join(60)
    assert [*said] == ["second"]
    assert isinstance(said["second"], Unavailable)
    assert threads["first"].is_alive()
    assert threads["first"].ident is not None
    opener.interrupt(threads["first"].ident)
    threads["first"].join(60)
    loop.close()
    assert ended == ["cancelled"] * 2


def test_the_end_is_waited_for_whoever_is_interrupted() -> None:
    loop, begun, go_on = Loop("one"), threading.Event(), threading.Event()
    done: list[str] = []

    async def last() -> None:
        begun.set()
        await asyncio.to_thread(go_on.wait, 60)
        done.append("ended")

    thread = threading.Thread(target=loop.close, args=(last(),), daemon=True)
    thread.start()
    assert begun.wait(60)
    assert thread.ident is not None
    loop.interrupt(thread.ident)
    go_on.set()
    thread.join(60)
    assert done == ["ended"]
    loop.close()  # once more is no error


def test_what_fails_fails_where_it_is_waited_for() -> None:
    async def fails() -> None:
        raise Unavailable("no")

    async def gives() -> int:
        return 7

    loop = Loop("one")
    with pytest.raises(Unavailable, match="no"):
        loop.wait(fails())
    assert loop.wait(gives()) == 7
    loop.close()
