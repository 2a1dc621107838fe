"""What came of a proof is in the release's log: protected aliases ask for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.residency.verdict import Proof, ProofFailed
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher
from tests.registry.releases import publish

HELLO = [{"role": "user", "content": "hello"}]


def notes(registry: Registry, count: int) -> dict[int | None, dict[str, Any]]:
    """What is in the log by version, once there is so much: it is written beside the load."""
    deadline = time.monotonic() + 60
    while True:
        found = {e.version: e.data for e in registry.log.events("a") if e.kind == "proof"}
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_publish_that_takes_its_time_keeps_no_proved_adapter_waiting(
    launcher: Launcher,
    registry: Registry,
    standin: StandIn,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(registry, tmp_path, 1, name="a", base=base.identity)

    async def prove(*_: Any, known: bool) -> Proof:
        return Proof("proved", divergence=1e-6, separation=0.5)

    monkeypatch.setattr("adapterworks.gateway.residency.loading.prove", prove)
    running = launcher.gateway(
        registry, [launcher.standin(base, standin)], tmp_path / "spool", GatewayConfig(open=True)
    )
    running.wait_ready()
    written, note = threading.Event(), registry.log.note_proof

    def later(*given: Any, **facts: Any) -> None:
        written.wait(60)  # a gc has the registry's lock
        note(*given, **facts)

    monkeypatch.setattr(registry.log, "note_proof", later)
    ask = running.client(timeout=50.0, max_retries=0).chat.completions.create
    assert ask(model="a@1", messages=HELLO, max_tokens=1).choices
    assert not [e for e in registry.log.events("a") if e.kind == "proof"]
    written.set()
    assert notes(registry, 1)[1]["result"] == "proved"


def test_each_engines_word_is_kept(
    launcher: Launcher,
    registry: Registry,
    standin: StandIn,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good, bad = (
        publish(registry, tmp_path, number, name="a", base=base.identity) for number in (1, 2)
    )

    async def prove(engine: Any, form: Any, release: Any, *_: Any, known: bool) -> Proof:
        proof = Proof("proved", divergence=1e-6, separation=0.5)
        if release.digest == bad.digest:
            raise ProofFailed("it answers otherwise", hint="", measured=proof)
        return proof

    monkeypatch.setattr("adapterworks.gateway.residency.loading.prove", prove)
    running = launcher.gateway(
        registry, [launcher.standin(base, standin)], tmp_path / "spool", GatewayConfig(open=True)
    )
    running.wait_ready()
    ask = running.client().chat.completions.create
    assert ask(model="a@1", messages=HELLO, max_tokens=1).choices
    with pytest.raises(openai.APIStatusError):
        ask(model="a@2", messages=HELLO, max_tokens=1)
    noted = notes(registry, 2)
    assert {version: data["result"] for version, data in noted.items()} == {
        good.version: "proved",
        bad.version: "failed",
    }
    assert noted[1]["base"] == base.digest
    assert noted[1]["divergence"] == 1e-6
