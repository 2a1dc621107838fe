"""Seats: how many adapters are in use at once, and who is next."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.seats import Seats
from tests.gateway.residency.scripted import release, settle


class Table:
    """Two slots and the entries of the digests `a` to `d`."""

    def __init__(self) -> None:
        self.entries = {name: Entry(release(name), "resident") for name in "abcd"}
        self.seats = Seats(cast(Engine, SimpleNamespace(slots=2)), self.entries)

    def use(self, name: str, since: float = 1.0) -> None:
        """A request takes its seat and is a user from now on."""
        self.seats.leave(name)
        self.entries[name].users += 1
        self.entries[name].busy_since = self.entries[name].busy_since or since

    def end(self, name: str) -> None:
        """A user leaves, as `Residency.lease` says it."""
        entry = self.entries[name]
        entry.users -= 1
        entry.yielding = entry.yielding and entry.users > 0
        self.seats.wake()

    def asks(self, name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self.seats.take(name))


@pytest.fixture
def table() -> Table:
    return Table()


async def busy(table: Table, **since: float) -> None:
    for name, at in since.items():
        await table.seats.take(name)
        table.use(name, at)


async def test_as_many_adapters_as_there_are_slots(table: Table) -> None:
    await table.seats.take("a")
    assert table.seats.busy == {"a"}
    assert "a" in table.seats
    assert "b" not in table.seats
    await table.seats.take("b")
    third = table.asks("c")
    await settle()
    assert not third.done()
    assert table.seats.busy == {"a", "b"}
    table.seats.leave("a")
    assert "a" not in table.seats
    table.seats.wake()
    await third
    assert table.seats.busy == {"b", "c"}


async def test_another_request_for_an_adapter_in_use_needs_no_slot(table: Table) -> None:
    await busy(table, a=1.0, b=2.0)
    await table.seats.take("a")
    await table.seats.take("a")
    table.seats.leave("a")
    assert "a" in table.seats
    table.seats.leave("a")
    assert "a" not in table.seats
    assert table.seats.busy == {"a", "b"}


async def test_the_one_that_has_run_longest_yields_and_only_that_one(table: Table) -> None:
    await busy(table, a=2.0, b=1.0)
    waiting = [table.asks("c"), table.asks("d")]
    await settle()
    assert [table.entries[n].yielding for n in "ab"] == [False, True]
    more = table.asks("b")  # it takes no further requests
    passing = table.asks("a")
    await settle()
    assert passing.done()
    assert not more.done()
    table.end("b")
    await settle()
    assert waiting[0].done()  # in order
    assert not waiting[1].done()
    assert not more.done()
    assert table.seats.busy == {"a", "c"}
    table.use("c", 3.0)
    table.seats.leave("a")
    table.end("a")
    await settle()
    assert waiting[1].done()
    assert not more.done()
    for task in (more,):
        task.cancel()


async def test_nobody_yields_while_a_slot_is_free(table: Table) -> None:
    await busy(table, a=1.0)
    await table.seats.take("b")
    assert not table.entries["a"].yielding
    table.seats.leave("b")
    table.entries["c"].leaving = True
    waiting = table.asks("c")  # it is being unloaded: this waits, though there is a slot
    await settle()
    assert not waiting.done()
    assert not table.entries["a"].yielding
    table.entries["c"].leaving = False
    table.seats.wake()
    await settle()
    assert waiting.done()


async def test_nobody_yields_to_nobody(table: Table) -> None:
    await busy(table, a=1.0, b=2.0)
    table.seats.wake()
    assert [table.entries[n].yielding for n in "ab"] == [False, False]


async def test_when_one_has_yielded_the_next_does_while_somebody_waits(table: Table) -> None:
    await busy(table, a=1.0, b=2.0)
    waiting = [table.asks("c"), table.asks("d")]
    await settle()
    assert [table.entries[n].yielding for n in "ab"] == [True, False]
    table.end("a")
    await settle()
    assert [task.done() for task in waiting] == [True, False]
    assert table.entries["b"].yielding
    table.end("b")
    await settle()
    assert waiting[1].done()


async def test_newcomers_do_not_pass_those_who_wait(table: Table) -> None:
    await busy(table, a=1.0, b=2.0)
    first = table.asks("c")
    await settle()
    table.entries["a"].users = 0
    table.entries["b"].users = 0
    late = table.asks("d")  # two slots are free, and `c` was there before
    await settle()
    assert not late.done()
    table.seats.wake()
    await asyncio.gather(first, late)


async def test_whoever_leaves_the_queue_holds_up_nobody(table: Table) -> None:
    await busy(table, a=1.0, b=2.0)
    leaving, staying = table.asks("c"), table.asks("d")
    await settle()
    leaving.cancel()
    await settle()
    table.end("a")
    await settle()
    assert staying.done()
    assert "c" not in table.seats


async def test_a_seat_given_in_the_moment_of_leaving_is_given_back(table: Table) -> None:
    await busy(table, a=1.0, b=2.0)
    leaving, staying = table.asks("c"), table.asks("d")
    await settle()
    table.end("a")
    leaving.cancel()  # it has the seat by now and has not run yet
    await settle()
    assert leaving.cancelled()
    assert "c" not in table.seats
    assert staying.done()


async def test_whoever_waits_for_a_change_is_told_of_the_next_one(table: Table) -> None:
    task = asyncio.create_task(table.seats.changed())
    await settle()
    assert not task.done()
    table.seats.wake()
    await asyncio.wait_for(task, 1)
    later = asyncio.create_task(table.seats.changed())
    await settle()
    assert not later.done()
    later.cancel()
