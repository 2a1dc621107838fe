"""Whom a tenant's loads unload: its own, once it holds its share of the places."""

from __future__ import annotations

import asyncio

import pytest

from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.verdict import Proof
from adapterworks.gateway.residency.victim import victim
from tests.gateway.residency.scripted import Scripted, release, settle


def _held(*owners: str | None) -> list[Entry]:
    """Entries of these owners; the first was used longest ago."""
    return [
        Entry(release(f"r{number}"), "resident", owner=owner, used=float(number), requests=1)
        for number, owner in enumerate(owners)
    ]


@pytest.mark.parametrize(
    ("owners", "newcomer", "gone"),
    [
        (("b", "a", "a", "a"), "a", 1),  # 3 of 4 are a's: its own goes, not the oldest
        (("b", "b", "a", "a"), "a", 2),  # half of the places for one of two
        (("b", "b", "b", "a"), "a", 0),  # less than half: the oldest
        ((None, None, "a", "a"), "a", 2),  # what several use counts as one holder
        ((None, "a", None, None), "a", 0),
        ((None, None, None, None), "a", 0),
        (("b", "a", "a", "a"), "c", 0),
        (("b", "a", "a", "a"), None, 0),  # nobody's request: a pin, a handover
        (("a", "a", "a", "a"), "a", 0),
    ],
)
def test_a_tenant_makes_room_among_its_own(
    owners: tuple[str | None, ...], newcomer: str | None, gone: int
) -> None:
    held = _held(*owners)
    assert victim(held, busy=(), wanted=(), owner=newcomer) is held[gone]


def test_one_in_use_stays_whoevers_it_is() -> None:
    held = _held("b", "a", "a", "a")
    assert victim(held, busy={held[1].release.digest}, wanted=(), owner="a") is held[2]
    busy = {entry.release.digest for entry in held[1:]}
    assert victim(held, busy=busy, wanted=(), owner="a") is held[0]


async def test_a_proof_is_charged_once_to_whoever_had_it_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Scripted(capacity=3)
    residency = engine.residency()

    async def load(*_: object) -> Proof:
        await asyncio.sleep(0)
        return Proof("proved", tokens=1106)

    monkeypatch.setattr(residency._places, "_load", load)
    await asyncio.gather(*(residency.warm(release("a"), tenant) for tenant in ("ann", "bob")))
    assert [residency.debt(release("a").digest) for _ in range(2)] == [1106, 0]
    residency.pin(release("p"))
    await settle()
    assert residency.debt(release("p").digest) == 0
    assert residency.debt(release("nobody").digest) == 0


async def test_asking_for_one_version_after_the_other_unloads_nobody_elses() -> None:
    residency = Scripted(capacity=4, slots=4).residency()
    for name, tenant in (("b1", "b"), ("b2", "b"), *((f"a{n}", "a") for n in range(6))):
        await residency.warm(release(name), tenant)
        entry = residency.enter(release(name).digest, tenant)
        assert entry is not None
        residency.leave(entry)
    assert {e.release.name for e in residency.entries} == {"b1", "b2", "a4", "a5"}


async def test_what_another_tenant_uses_is_no_ones_own() -> None:
    residency = Scripted().residency()
    await residency.warm(release("a"), "ann")
    owners = []
    for tenant in ("ann", "bob", "ann"):
        entry = residency.enter(release("a").digest, tenant)
        assert entry is not None
        owners.append(entry.owner)
        residency.leave(entry)
    assert owners == ["ann", None, None]
