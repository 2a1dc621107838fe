"""`adapters serve`, `chat` and `ps` as processes, on a stand-in engine given by its URL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from adapterworks.registry.bases.base import Base
from tests.gateway.adapters import Made, publish
from tests.gateway.conftest import open_registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, serve
from tests.gateway.serving import Serving
from tests.small_base import SMALL_BASES
from tests.warm.python import COMMAND, warm_python


@pytest.fixture
def serving(
    loop: Loop,
    launcher: Launcher,
    standin: StandIn,
    made: dict[str, Made],
    base: Base,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Serving]:
    """A gateway that is ready; with the parameter `True`, started by the installed command."""
    home = tmp_path / "home"
    publish(open_registry(home), made["medical"], base, "medical")
    engine = loop.run(serve(standin.app()))
    installed = getattr(request, "param", False)
    serving = Serving(home, [engine.url], "--open", installed=installed)
    serving.wait_ready()
    yield serving
    serving.end()
    loop.run(engine.stop())


def test_chat_streams_and_ps_shows_what_is_resident(serving: Serving, standin: StandIn) -> None:
    told = serving.run("chat", "medical", "hello", "--url", serving.url, "--max-tokens", "3")
    assert told.returncode == 0, told.stderr
    digest = standin.loads[0]
    assert told.stdout == f"{digest[-8:]}-0 {digest[-8:]}-1 {digest[-8:]}-2 \n"
    assert digest in told.stderr
    shown = json.loads(serving.run("ps", "--json").stdout)
    (gateway,) = shown
    assert gateway["ready"]
    (adapter,) = gateway["engines"][0]["adapters"]
    assert (adapter["name"], adapter["state"], adapter["digest"]) == ("medical", "resident", digest)
    table = serving.run("ps").stdout
    assert "medical" in table
    assert "resident" in table


def test_chat_says_what_is_wrong(serving: Serving) -> None:
    missing = serving.run("chat", "nobody", "hello", "--url", serving.url)
    assert missing.returncode == 3
    assert "`nobody` does not exist" in missing.stderr
    nowhere = serving.run("chat", "medical", "hello", "--url", "http://127.0.0.1:9")
    assert nowhere.returncode == 7
    assert "adapters serve" in nowhere.stderr


@pytest.mark.parametrize("serving", [True], indirect=True, ids=["installed"])
def test_sigterm_drains_what_is_in_flight(serving: Serving, standin: StandIn) -> None:
    standin.token_seconds = 0.1
    body = {
        "model": "medical",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 40,
        "stream": True,
    }
    lines: list[str] = []

    def read() -> None:
        with httpx.stream(
            "POST", serving.url + "/v1/chat/completions", json=body, timeout=30
        ) as answer:
            for line in answer.iter_lines():
                lines.append(line)

    reader = threading.Thread(target=read)
    reader.start()
    _wait(lambda: bool(lines))
    serving.process.send_signal(signal.SIGTERM)
    _wait(lambda: not _listens(serving.url))
    reader.join(60)
    assert serving.process.wait(60) == 0
    assert "data: [DONE]" in lines
    assert not list((serving.home / "run").glob("gateway-*.sock"))


def _listens(url: str) -> bool:
    try:
        httpx.get(url + "/health")
    except httpx.TransportError:  # refused, or accepted and closed at the last moment
        return False
    return True


def _wait(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_status_is_private(serving: Serving) -> None:
    (socket,) = (serving.home / "run").glob("gateway-*.sock")
    assert socket.stat().st_mode & 0o077 == 0
    assert httpx.get(serving.url + "/status").status_code == 404


def test_nobody_is_let_in_without_a_key_unless_open_was_asked_for(
    loop: Loop, launcher: Launcher, standin: StandIn, tmp_path: Path
) -> None:
    engine = loop.run(serve(standin.app()))
    closed = Serving(tmp_path / "home", [engine.url])
    try:
        closed.wait_ready()
        body = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "hi"}]}
        assert httpx.post(closed.url + "/v1/chat/completions", json=body).status_code == 401
        assert httpx.get(closed.url + "/v1/models").status_code == 401
    finally:
        told = closed.end()
        loop.run(engine.stop())
    assert "there are no tenants yet" in told


def test_open_is_for_loopback_only(tmp_path: Path) -> None:
    env = {**os.environ, "ADAPTERS_HOME": str(tmp_path), "ADAPTERS_BASES": str(SMALL_BASES)}
    told = subprocess.run(
        [
            warm_python("gateway"),
            "-P",
            "-c",
            COMMAND,
            "serve",
            "--open",
            "--host",
            "0.0.0.0",
            "--port",
            "0",
        ],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 2
    assert "would let anyone who reaches `0.0.0.0` in" in told.stderr
