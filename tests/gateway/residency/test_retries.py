"""A pin that could not be loaded is tried again; one that is refused, or let go of, is not."""

from __future__ import annotations

import asyncio

import pytest

from adapterworks.gateway.residency import retries
from adapterworks.manifests.errors import Refused, Unavailable
from tests.gateway.residency.scripted import Scripted, release, settle, stages

A, B = release("a"), release("b")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that are made, none of which takes time."""
    made: list[float] = []

    class Asyncio:
        """As much of the module as is used."""

        @staticmethod
        async def sleep(seconds: float) -> None:
            made.append(seconds)
            await asyncio.sleep(0)

    monkeypatch.setattr(retries, "asyncio", Asyncio)
    return made


class Failing(Scripted):
    """An engine that answers a number of loads with the same error."""

    def fail(self, times: int, error: Exception) -> None:
        self.left, self.error = times, error

    async def _pass(self, gate: str) -> None:
        await asyncio.sleep(0)
        if not gate.startswith("-") and self.left:
            self.left -= 1
            raise self.error


async def test_a_pin_whose_load_failed_is_tried_again(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    engine = Failing()
    engine.fail(7, Unavailable("its host does not answer"))
    residency = engine.residency()
    residency.pin(A)
    residency.pins_are_told()
    await settle()
    for _ in range(20):
        await settle()
    assert stages(residency) == {"a": "resident"}
    assert [entry.pinned for entry in residency.entries] == [True]
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert residency.unsettled is None
    assert [r.getMessage() for r in caplog.records if "pin" in r.getMessage()] == [
        "engine engine: the pin a is not loaded, and is tried again: its host does not answer"
    ]


async def test_what_is_refused_is_not_tried_again(pauses: list[float]) -> None:
    engine = Failing()
    engine.fail(1, Refused("its signature is not ours"))
    residency = engine.residency()
    residency.pin(A)
    await settle()
    await settle()
    assert stages(residency) == {"a": "refused"}
    assert pauses == []


async def test_what_is_pinned_no_more_is_let_be(pauses: list[float]) -> None:
    engine = Failing()
    engine.fail(100, Unavailable("its host does not answer"))
    residency = engine.residency()
    residency.pin(A)
    residency.pin(B)
    for _ in range(3):
        await settle()
    residency.unpin("a", keep=set())
    residency.close()
    await settle()
    tried = engine.left
    for _ in range(5):
        await settle()
    assert engine.left == tried
