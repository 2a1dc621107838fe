"""The ledger from the event loop: batches in order, each grant to whom it belongs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from adapterworks.gateway.admission.ledger import Draw, Grant, Hold, Ledger
from adapterworks.gateway.admission.shared import SharedLedger
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import Unavailable


class Counting:
    """Grants as many units as are wanted; keeps the batches; waits at the gate if told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.failures = 0  # to come

    def apply(self, operations: Sequence[Draw | Hold]) -> list[Grant]:
        self.begun.set()
        self.gate.wait(60)
        self.batches.append([operation.want for operation in operations])
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        return [Grant(operation.want, 0.0, 0.0) for operation in operations]

    def spent_since(self, tenant: str, first_day: str) -> int:
        return 7 if (tenant, first_day) == ("t", "2026-11-01") else 0


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def shared(counting: Counting) -> SharedLedger:
    return SharedLedger(cast(Ledger, counting), Supervisor())


async def begun(counting: Counting) -> None:
    """Wait until the first transaction is on its way."""
    assert await asyncio.to_thread(counting.begun.wait, 60)


def draw(want: int) -> Draw:
    return Draw("t", "requests", 60, 1, want)


async def test_what_waits_for_a_transaction_shares_the_next_one(
    shared: SharedLedger, counting: Counting
) -> None:
    counting.gate.clear()
    jobs = [asyncio.create_task(shared.apply(draw(1)))]
    await begun(counting)
    jobs += [asyncio.create_task(shared.apply(draw(want))) for want in (2, 3, 4)]
    await asyncio.sleep(0)
    counting.gate.set()
    grants = await asyncio.gather(*jobs)
    assert [grant.granted for grant in grants] == [1, 2, 3, 4]
    assert counting.batches == [[1], [2, 3, 4]]


async def test_a_failure_is_told_to_its_batch_and_the_next_one_goes_on(
    shared: SharedLedger, counting: Counting
) -> None:
    counting.gate.clear()
    counting.failures = 1
    failing = asyncio.create_task(shared.apply(draw(1)))
    await begun(counting)
    following = asyncio.create_task(shared.apply(draw(2)))
    await asyncio.sleep(0)
    counting.gate.set()
    with pytest.raises(Unavailable, match="away"):
        await failing
    async with asyncio.timeout(5):
        assert (await following).granted == 2
    assert counting.batches == [[1], [2]]


async def test_whoever_leaves_takes_nobody_with_it(
    shared: SharedLedger, counting: Counting
) -> None:
    counting.gate.clear()
    leaving = asyncio.create_task(shared.apply(draw(1)))
    staying = asyncio.create_task(shared.apply(draw(2)))
    await begun(counting)
    leaving.cancel()
    counting.gate.set()
    assert (await staying).granted == 2
    assert (await shared.apply(draw(5))).granted == 5
    assert await shared.spent_since("t", "2026-11-01") == 7


async def test_a_batch_that_fails_as_nobody_expects_is_told_and_seen(counting: Counting) -> None:
    seen: list[str] = []
    shared = SharedLedger(cast(Ledger, counting), Supervisor(count=seen.append))
    # Fewer grants than were asked for: whoever asked must not wait for ever.
    for error, grants, counted in ((Unavailable("away"), None, 0), (None, [], 1)):

        def apply(_: object, error: Any = error, grants: Any = grants) -> Any:
            if error is not None:
                raise error
            return grants

        counting.apply = apply  # type: ignore[method-assign]
        async with asyncio.timeout(5):
            with pytest.raises((Unavailable, ValueError)):
                await shared.apply(draw(1))
        assert seen == ["limits ledger"] * counted
