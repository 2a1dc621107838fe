"""A request's account: metered once, counted under its names, refused for a reason that is said."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.gateway.request import account as module
from adapterworks.gateway.request.account import Account
from adapterworks.gateway.request.cost import Cost
from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.usage import Counts
from adapterworks.gateway.tenants.tenant import OPEN_TENANT, Tenant
from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.registry.releases.release import Release
from tests.registry.releases import draft

BASE, DIGEST = f"sha256:{'b' * 64}", f"sha256:{'d' * 64}"
RELEASE = Release.from_draft(draft(), {})
ADAPTER = Target("medical:prod", "medical", BASE, RELEASE, DIGEST, 7)


class Meter:
    """Notes what it is given; `recorded` is what it answers."""

    def __init__(self) -> None:
        self.begun = 0
        self.events: list[UsageEvent] = []
        self.recorded: Future[None] = Future()
        self.recorded.set_result(None)

    def begin(self) -> None:
        self.begun += 1

    def record(self, event: UsageEvent) -> Future[None]:
        self.events.append(event)
        return self.recorded


class Ledger:
    """An account with all that it is seen by."""

    def __init__(self, target: Target | None = ADAPTER, tenant: Tenant = OPEN_TENANT) -> None:
        self.meter, self.metrics = Meter(), Metrics()
        gateway = cast(Gateway, SimpleNamespace(meter=self.meter, metrics=self.metrics))
        asked = SimpleNamespace(sequences=3, end_user="ann@example.org")
        call = cast(Call, SimpleNamespace(endpoint=SimpleNamespace(path="/v1/x"), asked=asked))
        self.receipt = Receipt(target=target)
        self.account = Account(gateway, tenant, self.receipt, call)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"tenant": "open", **labels})


async def settled(future: asyncio.Future[None]) -> None:
    await future
    await asyncio.sleep(0.01)  # the report comes after whoever waits


async def test_what_the_engine_was_asked_is_metered_once() -> None:
    ledger = Ledger()
    account = ledger.account
    account.asked(Cost(100, 50))
    account.usage.prompt, account.usage.completion = 10, 5
    account.usage.cached, account.usage.reasoning, account.usage.final = 4, 2, True
    account.cold = True
    await settled(account.close(200))
    await settled(account.close(500))
    (event,) = ledger.meter.events
    assert ledger.meter.begun == 1
    assert (event.request_id, event.tenant) == (ledger.receipt.request_id, "open")
    assert (event.release, event.ref, event.endpoint) == (DIGEST, "medical@7", "/v1/x")
    assert (event.prompt_tokens, event.completion_tokens) == (10, 5)
    assert (event.cached_tokens, event.reasoning_tokens, event.sequences) == (4, 2, 3)
    assert (event.status, event.cold_load, event.user, event.estimated) == (
        200,
        True,
        "",  # of an open gateway nothing stands for anybody
        False,
    )
    assert 0.0 <= time.time() - event.started < 60.0
    assert 0.0 < event.seconds < 60.0
    names = {"adapter": "medical", "endpoint": "/v1/x"}
    assert ledger.value("adapters_requests_total", status="200", **names) == 1
    assert ledger.value("adapters_requests_total", status="500", **names) is None
    assert ledger.value("adapters_tokens_total", adapter="medical", kind="prompt") == 10
    assert ledger.value("adapters_tokens_total", adapter="medical", kind="completion") == 5


async def test_what_is_metered_names_no_user_of_a_tenants() -> None:
    acme, globex = (Tenant(name, name, ("*",), f"salt of {name}") for name in ("acme", "globex"))
    kept = []
    for tenant in (acme, acme, globex, replace(acme, cache_salt="another")):
        ledger = Ledger(tenant=tenant)
        ledger.account.asked(Cost(100, 50))
        await settled(ledger.account.close(200))
        kept.append(ledger.meter.events[0].user)
    assert not any("ann" in user for user in kept)
    assert kept[0] == kept[1] == acme.pseudonym("ann@example.org") != acme.pseudonym("bob")
    assert (
        len({*kept}) == 3
    )  # another tenant's, and after an erasure, nobody can tell that it is her
    assert (acme.pseudonym(""), len(kept[0])) == ("", 32)


async def test_what_nobody_counted_is_charged_at_its_most() -> None:
    ledger = Ledger()
    ledger.account.asked(Cost(100, 50))
    await settled(ledger.account.close(499))
    (event,) = ledger.meter.events
    assert (event.prompt_tokens, event.completion_tokens, event.estimated) == (100, 50, True)
    refused = Ledger()
    refused.account.asked(Cost(100, 50))
    refused.account.cost_nothing()
    await settled(refused.account.close(400))
    (event,) = refused.meter.events
    assert (event.prompt_tokens, event.completion_tokens, event.estimated) == (0, 0, False)


async def test_parts_add_up_and_what_comes_after_them_is_not_charged() -> None:
    ledger = Ledger()
    account = ledger.account
    for prompt in (10, 20):
        account.asked(Cost(1000, 500))
        account.usage.take(Counts(prompt, 3, 4, 2))
        assert account.part() == Counts(prompt, 3, 4, 2)
    assert (account.settle().prompt, account.settle().completion) == (30, 6)
    await settled(account.close(499))  # while it waits for the turn of a third part
    (event,) = ledger.meter.events
    assert (event.prompt_tokens, event.completion_tokens, event.estimated) == (30, 6, False)
    assert (event.cached_tokens, event.reasoning_tokens) == (8, 4)
    assert ledger.value("adapters_tokens_total", adapter="medical", kind="prompt") == 30


async def test_a_part_that_nobody_counted_is_charged_at_its_own_most() -> None:
    ledger = Ledger()
    ledger.account.asked(Cost(100, 50))
    assert ledger.account.part() == Counts(100, 50)
    ledger.account.asked(Cost(100, 50))
    ledger.account.usage.take(Counts(1, 2))
    await settled(ledger.account.close(200))
    (event,) = ledger.meter.events
    assert (event.prompt_tokens, event.completion_tokens, event.estimated) == (101, 52, True)


async def test_what_the_engine_was_never_asked_is_counted_and_no_event() -> None:
    ledger = Ledger(target=None)
    await settled(ledger.account.close(404))
    assert (ledger.meter.begun, ledger.meter.events) == (0, [])
    names = {"adapter": "", "endpoint": "/v1/x"}
    assert ledger.value("adapters_requests_total", status="404", **names) == 1


async def test_a_base_goes_by_its_own_name() -> None:
    ledger = Ledger(Target("tiny", "base:tiny", BASE))
    ledger.account.asked(Cost(1, 1))
    await settled(ledger.account.close(200))
    assert (ledger.meter.events[0].release, ledger.meter.events[0].ref) == (BASE, "tiny")
    names = {"adapter": "tiny", "endpoint": "/v1/x"}
    assert ledger.value("adapters_requests_total", status="200", **names) == 1


async def test_the_last_byte_waits_for_the_disk_and_a_full_one_is_told() -> None:
    ledger = Ledger()
    ledger.meter.recorded = Future()
    ledger.account.asked(Cost(1, 1))
    closed = ledger.account.close(200)
    await asyncio.sleep(0.01)
    assert not closed.done()
    ledger.meter.recorded.set_result(None)
    await asyncio.wait_for(closed, 60)
    full = Ledger()
    full.meter.recorded = Future()
    full.meter.recorded.set_exception(OSError("No space left"))
    full.account.asked(Cost(1, 1))
    with pytest.raises(OSError, match="No space left"):
        await asyncio.wait_for(full.account.close(200), 60)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RateLimited("x", headers={}, retry_after=1.0), "limit"),
        (NotFound("x"), "access"),
        (Refused("x"), "proof"),
        (IntegrityError("x"), "proof"),
        (Unavailable("x"), "queue"),
        (InvalidInput("x"), None),
        (Conflict("x"), None),
    ],
)
async def test_a_refusal_has_a_reason(error: AdapterworksError, reason: str | None) -> None:
    ledger = Ledger()
    ledger.account.phase = "queue"
    ledger.account.refused(error)
    for name in ("limit", "access", "proof", "queue", "cold"):
        expected = 1.0 if name == reason else None
        assert ledger.value("adapters_refusals_total", reason=name) == expected


async def test_the_first_token_and_the_pauses_after_it_are_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Begun at 10.0, sent at 10.5, 10.75 and 11.25: 0.5 to the first, then 0.25 and 0.5."""
    clock = SimpleNamespace(perf_counter=lambda: 10.0, time=time.time)
    monkeypatch.setattr(module, "time", clock)
    ledger = Ledger()
    for now in (10.5, 10.75, 11.25):
        clock.perf_counter = lambda now=now: now
        ledger.account.token()
    first, between = "adapters_time_to_first_token_seconds", "adapters_inter_token_seconds"
    assert ledger.value(f"{first}_sum", adapter="medical") == 0.5
    assert ledger.value(f"{first}_count", adapter="medical") == 1
    assert ledger.value(f"{between}_sum", adapter="medical") == 0.75
    assert ledger.value(f"{between}_count", adapter="medical") == 2


@pytest.mark.parametrize("target", [ADAPTER, None])
async def test_a_line_of_the_log_says_who_asked_what_and_what_answered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, target: Target | None
) -> None:
    caplog.set_level(logging.INFO, "adapterworks.gateway.access")
    clock = SimpleNamespace(perf_counter=lambda: 10.0, time=time.time)
    monkeypatch.setattr(module, "time", clock)
    ledger = Ledger(target)
    ledger.account.asked(Cost(7, 5))
    clock.perf_counter = lambda: 10.123456
    await settled(ledger.account.close(503))
    (record,) = caplog.records
    fields: dict[str, Any] = {
        "request_id": ledger.receipt.request_id, "tenant": "open", "endpoint": "/v1/x",
        "status": 503, "seconds": 0.1235, "prompt_tokens": 7, "completion_tokens": 5,
        "cold": False, "estimated": True,
    }  # fmt: skip
    if target is not None:
        fields |= {"adapter_ref": "medical:prod", "adapter_digest": DIGEST, "base_digest": BASE}
    assert record.fields == fields  # type: ignore[attr-defined]
