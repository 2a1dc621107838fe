"""A gateway in this process, on a stand-in engine: how it starts, fails, is interrupted, ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import AuthenticationError, InternalServerError, OpenAI

import adapterworks
from adapterworks.extras import MODULES
from adapterworks.gateway.config.engines import RemoteEngine
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.engines import local
from adapterworks.gateway.engines.remote import RemoteEngine as EngineElsewhere
from adapterworks.registry.bases.base import Base
from tests.small_base import MODEL


@pytest.fixture
def config(engine_url: str, base: Base, home: Path) -> GatewayConfig:
    """A gateway on the stand-in engine, in a home of its own."""
    return GatewayConfig(engines=(RemoteEngine(url=engine_url, base=MODEL),))


def engines_folders() -> set[str]:
    """The folders of engines' sockets."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("adapters-engine-*")}


def ask(base_url: str) -> str:
    """What the base answers."""
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], max_tokens=2
        )
    assert answer.choices[0].message.content
    return answer.choices[0].message.content


def left_over(home: Path) -> list[str]:
    """What a gateway that has ended should not have left."""
    threads = [thread.name for thread in threading.enumerate() if "gateway" in thread.name]
    return [*threads, *(path.name for path in home.glob("run/*.sock"))]


def test_it_serves_within_its_block(config: GatewayConfig, home: Path) -> None:
    lines: list[str] = []
    with adapterworks.serve(config, open=True, say=lines.append) as gateway:
        assert ask(gateway.base_url)
        assert gateway.base_url == f"{gateway.url}/v1"
        url = gateway.url
        assert repr(gateway) == f"<adapterworks.Served {url}>"
    assert f"serving at {url}" in lines
    assert left_over(home) == []
    gateway.close()  # again, which does nothing
    with pytest.raises(adapterworks.Unavailable, match="this gateway is not serving"):
        _ = gateway.url


def test_an_engine_elsewhere_is_asked_before_it_serves(
    config: GatewayConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever calls at once would be told that it is starting."""
    own = EngineElsewhere._healthy

    async def late(engine: EngineElsewhere) -> bool:
        await asyncio.sleep(0.5)
        return await own(engine)

    monkeypatch.setattr(EngineElsewhere, "_healthy", late)
    with adapterworks.serve(config, open=True, say=None) as gateway:
        assert ask(gateway.base_url)


def test_it_serves_where_an_engine_elsewhere_does_not_answer(home: Path, base: Base) -> None:
    config = GatewayConfig(engines=(RemoteEngine(url="http://127.0.0.1:9", base=MODEL),))
    with (
        adapterworks.serve(config, open=True, say=None) as gateway,
        pytest.raises(InternalServerError, match="is not ready"),
    ):
        ask(gateway.base_url)


async def test_it_serves_beside_a_loop_that_runs_here(config: GatewayConfig) -> None:
    """A notebook's cells run in a thread that has a running loop."""
    with adapterworks.serve(config, open=True, say=None) as gateway:
        assert ask(gateway.base_url)


def test_it_starts_and_closes_across_cells(config: GatewayConfig, home: Path) -> None:
    gateway = adapterworks.serve(config, open=True, say=None).start()
    assert ask(gateway.base_url)
    with pytest.raises(adapterworks.Conflict, match="was started before"):
        gateway.start()
    assert ask(gateway.base_url)
    gateway.close()
    with pytest.raises(adapterworks.Conflict, match="was started before"), gateway:
        pass
    assert left_over(home) == []


def test_one_that_never_starts_needs_no_closing(config: GatewayConfig) -> None:
    adapterworks.serve(config, open=True).close()


def test_without_open_a_key_is_asked_for(config: GatewayConfig) -> None:
    with (
        adapterworks.serve(config, say=None) as gateway,
        pytest.raises(AuthenticationError),
    ):
        ask(gateway.base_url)


def test_the_port_is_the_callers_or_the_files_or_a_free_one(
    config: GatewayConfig, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("port = 9321\n")
    ports = [
        adapterworks.serve(file, port=9322)._config.port,
        adapterworks.serve(str(file))._config.port,
        adapterworks.serve()._config.port,
    ]
    assert ports == [9322, 9321, 0]


def test_a_taken_port_is_refused(config: GatewayConfig, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = adapterworks.serve(config, open=True, port=port, say=None)
        with pytest.raises(adapterworks.Unavailable, match=f"cannot listen on 127.0.0.1:{port}"):
            gateway.start()
    assert left_over(home) == []


def test_an_engine_that_does_not_start_is_an_error(
    base: Base, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "command", lambda *_: (["false"], dict(os.environ)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other engines run on this machine
    before = engines_folders()
    with pytest.raises(adapterworks.Unavailable, match=f"`{MODEL}` did not start") as caught:
        adapterworks.serve(open=True, say=None).start()
    assert caught.value.hint is not None
    assert "log" in caught.value.hint
    assert left_over(home) == []
    assert engines_folders() <= before


def test_an_engine_that_is_not_installed_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODULES, "cpu", ("no_such_engine",))
    with pytest.raises(adapterworks.MissingExtra, match="no_such_engine"):
        adapterworks.serve(open=True, say=None).start()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C means what it means in a program: pytest's processes of `-n` ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_it_comes_up_stops_what_it_started(
    base: Base, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "command", lambda *_: (["sleep", "600"], dict(os.environ)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other engines run on this machine
    before = engines_folders()

    def say(line: str) -> None:
        if "starting" in line or "rank" in line:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        adapterworks.serve(open=True, say=say).start()
    assert left_over(home) == []
    assert engines_folders() <= before


def test_what_was_not_closed_is_closed_when_the_interpreter_ends(
    config: GatewayConfig, engine_url: str, home: Path
) -> None:
    code = f"""if True:
        import adapterworks
        from adapterworks.gateway.config.engines import RemoteEngine
        from adapterworks.gateway.config.tables import GatewayConfig
        config = GatewayConfig(engines=(RemoteEngine(url={engine_url!r}, base={MODEL!r}),))
        gateway = adapterworks.serve(config, open=True, say=None).start()
        print(gateway.url)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    # The stand-in's tokens are its own, which is said.
    said = [line for line in done.stderr.splitlines() if "renders conversations" not in line]
    assert said == []
    assert done.returncode == 0
    assert done.stdout.startswith("http://127.0.0.1:")
    assert left_over(home) == []
