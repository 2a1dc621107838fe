"""Whatever JSON is sent and whatever fails: nothing stays held, and no token escapes the bill."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapterworks.gateway.config.tables import (
    FairnessTable,
    GatewayConfig,
    ResidencyTable,
    TrustTable,
)
from adapterworks.gateway.storage.schema import usage_events
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from bench.hostile_bodies import FIELDS, GOOD, ODD
from bench.hostile_requests import dead, holdings
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import publish

Fate = Literal["answered", "left", "broken", "countless"]
FATES: tuple[Fate, ...] = ("answered", "left", "broken", "countless")
LIMITS = Limits(rpm=10**6, tpm=10**8, max_concurrency=8, monthly_tokens=10**10)


class Tried:
    """A gateway whose tenant has every limit, and an engine that fails as it is told."""

    def __init__(self, loop: Loop, home: Path, base: Base) -> None:
        self.registry = Registry.open(
            database=f"sqlite:///{home / 'index.db'}", blobs=str(home / "blobs"), home=home
        )
        for number, name in enumerate(("medical", "code"), 1):
            publish(self.registry, home, number, name=name, alias="prod", base=base.identity)
        admin = TenantAdmin(self.registry.database, who="tester")
        self.key = admin.add("one", allow=("*",), limits=LIMITS)[1].text
        self.launcher, self.standin = Launcher(loop), StandIn(base.name)
        self.running: Running = self.launcher.gateway(
            self.registry,
            [self.launcher.standin(base, self.standin, slots=1, capacity=1)],
            home / "spool",
            GatewayConfig(
                trust=TrustTable(proof="off"),
                fairness=FairnessTable(slots=4),
                residency=ResidencyTable(cold_wait_seconds=60.0),
            ),
        )
        self.running.wait_ready()

    def send(self, path: str, body: dict[str, Any], fate: Fate) -> int:
        """Send it and see it to its end, or to the client's; returns the status, 0 if left."""
        self.standin.countless = fate == "countless"
        self.standin.token_seconds = 0.001 if fate in ("left", "broken") else 0.0
        try:
            with (
                self.running.http(self.key) as http,
                http.stream("POST", path, content=json.dumps(body).encode()) as answer,
            ):
                if fate == "left":
                    return 0
                if fate == "broken":
                    self.standin.broken = True
                answer.read()
                return answer.status_code
        except httpx.RemoteProtocolError:
            return 0
        finally:
            self.standin.broken = False

    def held(self) -> list[str]:
        """What is still held once everybody has had the time to let go."""
        deadline = time.monotonic() + 60
        while (held := holdings(self.running.gateway)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return held

    def events(self) -> dict[str, sa.Row[Any]]:
        """All events, once everything that the engine began is there."""
        deadline = time.monotonic() + 60
        while True:
            with self.registry.database.read() as connection:
                rows = {row.request_id: row for row in connection.execute(sa.select(usage_events))}
            if self.standin.counted.keys() <= rows.keys() or time.monotonic() > deadline:
                return rows
            time.sleep(0.05)


@pytest.fixture(scope="module")
def tried(loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    tried = Tried(loop, Path(tmp_path_factory.mktemp("tried")), base)
    yield tried
    tried.launcher.close()


ANY = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
BODIES = st.sampled_from(sorted(GOOD)).flatmap(
    lambda path: st.tuples(
        st.just(path),
        st.fixed_dictionaries(
            {"adapter" if path == "/generate" else "model": st.sampled_from(("medical", "code"))},
            optional={"stream": st.booleans(), "n": st.sampled_from((1, 2, 3, 5))},
        ),
        st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=2) | st.just({}),
    )
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(BODIES, st.sampled_from(FATES))
def test_nothing_is_held_and_nothing_is_free(
    tried: Tried, sent: tuple[str, dict[str, Any], dict[str, Any]], fate: Fate
) -> None:
    path, own, odd = sent
    if path in ("/generate", "/v1/responses", "/v1/messages", "/v1/embeddings"):
        own.pop("n", None)
    if path in ("/generate", "/v1/embeddings"):
        own.pop("stream", None)
    status = tried.send(path, {**GOOD[path], **own, **odd}, fate)
    assert status < 500 or fate == "broken"
    assert tried.held() == []


def test_what_was_sent_is_metered_with_no_less_than_was_counted(tried: Tried) -> None:
    for stream in (False, True):
        for path in sorted(GOOD):
            if path == "/v1/embeddings" or (stream and path == "/generate"):
                continue
            name = "adapter" if path == "/generate" else "model"
            body = {name: "medical", **GOOD[path], **({"stream": True} if stream else {})}
            for fate in FATES:
                assert tried.send(path, body, fate) in (0, 200, 503)
    assert tried.held() == []
    events = tried.events()
    standin = tried.standin
    assert len(standin.counted) >= 40
    for request_id, (prompt, completion) in standin.counted.items():
        event = events[request_id]
        assert event.prompt_tokens >= prompt
        if event.status != 499:  # an engine is ahead of what anybody has read when it hears of it
            assert event.completion_tokens >= completion
        if request_id in standin.answered and event.status == 200 and not event.estimated:
            counted = standin.answered[request_id]
            assert (event.prompt_tokens, event.completion_tokens) == counted
    assert dead(tried.running.gateway) == []
