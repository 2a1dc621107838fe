"""The engine killed with -9 in the middle of a stream, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest

from adapterworks.gateway.engines.local import LocalEngine
from adapterworks.gateway.engines.plan import engine_specs
from adapterworks.gateway.http.status import describe
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from tests.gateway.conftest import ENGINE_CONFIG
from tests.gateway.running import Launcher, Loop, Running
from tests.small_base import MODEL, WHOLE_BASES
from tests.warm.family import behind, family
from tests.warm.python import warm

HELLO = [{"role": "user", "content": "Tell a long story."}]


def _vllm(engine: LocalEngine) -> psutil.Process:
    """The API server: the guard's only child."""
    assert engine.pid is not None
    (child,) = behind(psutil.Process(engine.pid)).children()
    return behind(child)


@pytest.fixture
def warm_engines() -> Iterator[None]:
    """What is started again meanwhile is forked."""
    with warm("engine"):
        yield


@pytest.mark.engine
@pytest.mark.usefixtures("warm_engines")
def test_clients_get_a_clean_error_and_everything_returns_by_itself(
    gateway: Running, engine: LocalEngine
) -> None:
    client = gateway.client()
    ask = {"model": "medical", "messages": HELLO, "temperature": 0}
    before = client.chat.completions.create(**ask, max_tokens=8)
    victim = _vllm(engine)
    all_of_it = family(victim)
    assert len(all_of_it) > 2
    # What computes is held from here on, so that the answer cannot be complete, on any machine.
    for process in all_of_it[1:]:
        process.suspend()
    stream = client.chat.completions.create(**ask, max_tokens=800, stream=True)
    victim.kill()
    killed = time.monotonic()
    with pytest.raises(openai.APIError, match="broke off its answer"):
        list(stream)
    # 0.3 s on an idle machine; the rest is for one that is busy. The engine's own limit is 120 s.
    assert time.monotonic() - killed < 30.0
    with gateway.http() as http:
        assert http.get("/health").status_code == 200
        # The guard tells of the death a moment after the connection does.
        while (ready := http.get("/ready")).status_code == 200:
            assert time.monotonic() - killed < 60.0
            time.sleep(0.02)
    assert ready.status_code == 503
    assert "engine" in ready.json()["reason"]
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(**ask, max_tokens=1)
    assert refused.value.response.headers["retry-after"]
    psutil.wait_procs(all_of_it, timeout=60)
    assert not [process for process in all_of_it if process.is_running()]
    gateway.wait_ready()
    after = client.chat.completions.create(**ask, max_tokens=8)
    assert after.choices[0].message.content == before.choices[0].message.content
    status = describe(gateway.gateway, 0)["engines"][0]
    assert status["generation"] >= 2
    entry = next(a for a in status["adapters"] if a["name"] == "medical")
    assert entry["proof"]["state"] == "proved"


@pytest.mark.slow
@pytest.mark.engine
def test_a_stream_of_the_whole_model_is_broken_off_between_tokens(
    loop: Loop, launcher: Launcher, registry: Registry, tmp_path: Path
) -> None:
    """Thirty layers are still at work on 800 tokens when a client has read five of them."""
    spec = engine_specs(ENGINE_CONFIG, BaseStore(WHOLE_BASES), [])[0]
    local = LocalEngine(
        spec, run=tmp_path / "run", supervisor=ENGINE_CONFIG.supervisor, request_seconds=120.0
    )
    loop.run(local.start())
    try:
        loop.run(local.ready())
        served = launcher.gateway(
            registry, [local], tmp_path / "spool", ENGINE_CONFIG, start_engines=False
        )
        stream = served.client().chat.completions.create(
            model=MODEL,
            messages=HELLO,
            max_tokens=800,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        seen = 0
        with pytest.raises(openai.APIError, match="broke off its answer"):  # noqa: PT012
            for _ in stream:
                seen += 1
                if seen == 5:
                    _vllm(local).kill()
        assert 5 <= seen < 800
    finally:
        loop.run(local.stop())


def _guarded(script: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    guard = subprocess.Popen(
        [sys.executable, "-m", "adapterworks.gateway.engines.guard", sys.executable, "-c", script],
        stdin=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (children := psutil.Process(guard.pid).children(recursive=True)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return guard, children[0]


def _close(guard: subprocess.Popen[bytes]) -> None:
    assert guard.stdin is not None
    guard.stdin.close()


def test_a_closed_pipe_ends_the_whole_group() -> None:
    """What a `kill -9` of the gateway looks like to the guard."""
    script = "import subprocess, time;subprocess.Popen(['sleep', '600']); time.sleep(600)"
    guard, child = _guarded(script)
    deadline = time.monotonic() + 60
    while not child.children():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = [child, *child.children()]
    _close(guard)
    guard.wait(60)
    psutil.wait_procs(family, timeout=60)
    assert not [process for process in family if process.is_running()]


def test_what_the_command_leaves_behind_is_killed(tmp_path: Path) -> None:
    """vLLM's engine core must not outlive its API server."""
    note = tmp_path / "pid"
    script = (
        "import pathlib, subprocess, time;"
        "left = subprocess.Popen(['sleep', '600']);"
        f"pathlib.Path({str(note)!r}).write_text(str(left.pid)); time.sleep(1); raise SystemExit(3)"
    )
    guard, _ = _guarded(script)
    assert guard.wait(60) == 3
    _close(guard)
    left = int(note.read_text())
    deadline = time.monotonic() + 60
    while psutil.pid_exists(left) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_guard_takes_the_command_with_it() -> None:
    guard, child = _guarded("import time; time.sleep(600)")
    os.kill(guard.pid, signal.SIGKILL)
    guard.wait()
    _close(guard)
    child.wait(timeout=60)
    assert not child.is_running()
