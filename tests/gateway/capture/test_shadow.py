"""What a shadow answers is kept beside a request that its tenant lets be kept, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.capture import capture as capturing
from adapterworks.gateway.config.tables import GatewayConfig, ShadowTable, TrustTable
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.exchanges.exchange import Exchange
from adapterworks.registry.exchanges.shadows import Paired, pairs, put_shadow
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.registry import Registry
from tests.gateway.capture.test_capture import MAIL, Clinic, bytes_under
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher
from tests.registry.releases import publish


@dataclass
class HoldsStreams(StandIn):
    """Streams wait, and whole answers do not."""

    holds_streams: bool = False

    async def _events(self, *arguments: Any) -> AsyncIterator[bytes]:
        while self.holds_streams:  # noqa: ASYNC110 (a test changes it)
            await asyncio.sleep(0.01)
        async for event in super()._events(*arguments):
            yield event


@pytest.fixture
def clinic(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Clinic:
    """`medical` at version 1, each request of which version 2 answers too."""
    monkeypatch.setattr(capturing, "BATCH_SECONDS", 0.01)
    monkeypatch.setattr(capturing, "EARLY_LOOK", 0.02)
    made = publish(registry, tmp_path / "made", 1, alias="prod", base=base.identity)
    publish(registry, tmp_path / "made", 2, base=base.identity)
    admin = TenantAdmin(registry.database, who="tester")
    keys = {"acme": admin.add("acme", allow=("*",), limits=Limits())[1].text}
    standin = HoldsStreams(base.name)
    shadow = ShadowTable(adapter="medical", to="medical@2")
    config = GatewayConfig(trust=TrustTable(proof="off"), shadow=(shadow,))
    engine = launcher.standin(base, standin)
    running = launcher.gateway(registry, [engine], tmp_path / "spool", config)
    running.wait_ready()
    return Clinic(running, standin, admin, keys, tmp_path, made.digest)


def found(clinic: Clinic, count: int) -> list[Paired]:
    """The pairs, once there are so many."""
    deadline = time.monotonic() + 30
    while True:
        there = list(pairs(clinic.store, adapter="medical"))
        if len(there) >= count:
            return there
        assert time.monotonic() < deadline, clinic.settled(0)
        time.sleep(0.02)


def idle(clinic: Clinic) -> None:
    deadline = time.monotonic() + 30
    while clinic.running.gateway.background:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_both_answers_are_kept_of_one_request(clinic: Clinic, stream: bool) -> None:
    clinic.agree(share="own")
    answer = clinic.ask(f"who is {MAIL}?", stream=stream)
    if stream:
        list(answer)
    (pair,) = found(clinic, 1)
    other = clinic.running.gateway.registry.resolve("medical@2").digest
    assert (pair.exchange.release, pair.release) == (clinic.digest, other)
    assert pair.exchange.text.startswith(clinic.digest[-8:])
    assert pair.answer.startswith(other[-8:])
    assert not pair.same
    assert MAIL not in str(pair.exchange.messages)
    assert clinic.settled(2) == {"kept": 1, "shadow": 1}


def test_personal_data_in_a_shadows_answer_is_taken_out_and_equal_ones_are_told(
    clinic: Clinic,
) -> None:
    clinic.agree()
    clinic.standin.tokens = ["write to ", MAIL]
    clinic.ask()
    (pair,) = found(clinic, 1)
    assert pair.same
    assert pair.answer == "write to ‹e-mail address›"
    assert MAIL.encode() not in bytes_under(clinic.home)


def test_what_may_not_be_kept_has_no_shadow_either(clinic: Clinic) -> None:
    clinic.ask("planted without consent")
    clinic.agree()
    clinic.ask("planted with store false", store=False)
    clinic.agree(adapters=("code",))
    clinic.ask("planted of another adapter")
    idle(clinic)
    clinic.agree()
    clinic.ask("this one")
    (pair,) = found(clinic, 1)
    assert pair.exchange.messages[0]["content"] == "this one"
    assert len(clinic.standin.bodies) == 8, "they were asked all the same"
    assert b"planted" not in bytes_under(clinic.home)


def test_a_shadow_that_is_faster_waits_for_its_request(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's stream is held back until the shadow has long answered."""
    clinic.agree()
    assert isinstance(clinic.standin, HoldsStreams)
    clinic.standin.holds_streams = True
    stream: Any = clinic.ask("slow", stream=True)
    capture = clinic.running.gateway.capture
    deadline = time.monotonic() + 30
    while not capture._early:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(pairs(clinic.store, adapter="medical")) == []
    clinic.standin.holds_streams = False
    list(stream)
    (pair,) = found(clinic, 1)
    assert pair.exchange.messages[0]["content"] == "slow"
    # One whose request is not kept after all is let go.
    monkeypatch.setattr(clinic.store, "put", lambda made: 0)
    clinic.ask("nowhere")
    assert clinic.settled(4)["alone"] == 1
    assert b"nowhere" not in bytes_under(clinic.home)
    assert (capture._early, capture._bytes, capture._drafts) == ([], 0, 0)


def test_what_waits_takes_room_and_asks_nothing_until_its_request_is_over(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def counted(store: Exchanges, answered: Exchange) -> bool:
        looks.append(answered.receipt)
        return put_shadow(store, answered)

    monkeypatch.setattr(capturing, "put_shadow", counted)
    clinic.agree()
    assert isinstance(clinic.standin, HoldsStreams)
    clinic.standin.holds_streams = True
    stream: Any = clinic.ask("slow", stream=True)
    capture = clinic.running.gateway.capture
    deadline = time.monotonic() + 30
    while not capture._early:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    held = capture._bytes
    assert held > 0
    monkeypatch.setattr(capturing, "MOST_BYTES", held)  # and no more room for anything
    clinic.ask("one too many")
    assert clinic.settled(2) == {"full": 2}
    time.sleep(0.2)  # ten times the time after which it looks what has waited too long
    assert len(looks) == 1
    # The client leaves: its answer will never be whole, and nothing of it is kept.
    stream.close()
    assert clinic.settled(3) == {"full": 2, "alone": 1}
    assert (capture._early, capture._bytes, len(looks)) == ([], 0, 2)
    assert list(clinic.store.read()) == []
