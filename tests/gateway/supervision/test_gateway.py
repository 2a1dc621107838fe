"""A gateway whose background work fails: it goes on, says so, and turns `/ready` and `/health`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from adapterworks.gateway.metering import spool
from adapterworks.gateway.supervision import supervisor as module
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Running, Start
from tests.registry.releases import publish
from tests.waiting import until

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.05)


@pytest.fixture
def running(start: Start, registry: Registry, base: Base, tmp_path: Path) -> Running:
    publish(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
    return start()


def digest(running: Running) -> str:
    body = {"model": "medical", "messages": HELLO, "max_tokens": 1}
    with running.http() as http:
        answer = http.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-adapter-digest"])


@pytest.mark.parametrize("error", [PoolTimeout("QueuePool limit"), ValueError("a bug"), KeyError()])
def test_a_watcher_that_failed_still_sees_aliases_move(
    running: Running,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    revision, faults = running.gateway.registry.revision, [error, error]

    def failing() -> int:
        if faults:
            raise faults.pop()
        return revision()

    monkeypatch.setattr(running.gateway.registry, "revision", failing)
    until(lambda: not faults)
    new = publish(registry, tmp_path, 9, name="medical", alias="prod", base=base.identity)
    until(lambda: digest(running) == new.digest)
    value = running.gateway.metrics.registry.get_sample_value
    counted = value("adapters_background_failures_total", {"worker": "revision watcher"})
    assert counted == 2.0


def test_a_worker_that_stays_down_turns_ready_and_at_last_health(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DOWN_SECONDS", 0.1)

    def failing() -> int:
        raise ValueError("a bug")

    with monkeypatch.context() as broken, running.http() as http:
        broken.setattr(running.gateway.registry, "revision", failing)
        until(lambda: http.get("/ready").status_code == 503)
        assert "revision watcher" in http.get("/ready").json()["reason"]
        assert http.get("/health").status_code == 200
        broken.setattr(module, "HOPELESS_SECONDS", 0.2)
        until(lambda: http.get("/health").status_code == 503)
        assert "revision watcher" in http.get("/health").json()["reason"]
    with running.http() as http:
        until(lambda: http.get("/ready").status_code == 200)
        assert http.get("/health").status_code == 200


def test_a_full_disk_is_told_before_the_engine_is_asked(
    running: Running, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in flight is counted in the reserve; with room again it goes on by itself."""
    digest(running)
    full = False
    append, pwrite = spool.Segment.append, spool.os.pwrite

    def no_room(segment: spool.Segment, lines: list[bytes]) -> None:
        if full and running.gateway.meter._reserve.held:
            raise OSError(28, "No space left on device")
        append(segment, lines)

    def no_reserve(descriptor: int, data: bytes, offset: int) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(spool.Segment, "append", no_room)
    monkeypatch.setattr(spool.os, "pwrite", no_reserve)
    full = True
    digest(running)  # it was let in while there seemed to be room
    asked = len(standin.bodies)
    body = {"model": "medical", "messages": HELLO, "max_tokens": 1, "stream": True}
    with running.http() as http:
        for _ in range(3):
            refused = http.post(CHAT, json=body)
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            assert "usage cannot be recorded" in json.loads(refused.text)["error"]["message"]
        assert len(standin.bodies) == asked
        ready = http.get("/ready")
        assert (ready.status_code, ready.json()["reason"]) == (503, "usage cannot be recorded")
        full = False
        assert http.get("/ready").status_code == 200
    digest(running)
