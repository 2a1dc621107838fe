"""A gateway on one host, real engines on another that shares no folder with it.

The other host is a network namespace with a mount namespace in which the gateway's home is not to
be seen. Only root can make one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import pytest

from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from bench.apart import environment
from tests.gateway.adapters import Made, publish
from tests.gateway.serving import Serving

HERE, THERE = "10.97.41.1", "10.97.41.2"
KEY = "the-engines-key"
NAMES = ("medical", "code")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _can_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "aw-probe"], capture_output=True).returncode == 0
    if made:
        _ip("netns", "del", "aw-probe")
    return made


pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.skipif(not _can_make_namespaces(), reason="network namespaces need root and `ip`"),
]


@pytest.fixture
def other_host() -> Iterator[str]:
    """A namespace that reaches this one and nothing else."""
    name = f"aw-{os.getpid()}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", "awhere", "type", "veth", "peer", "name", "awthere", "netns", name)
        _ip("addr", "add", f"{HERE}/30", "dev", "awhere")
        _ip("link", "set", "awhere", "up")
        _ip("-n", name, "addr", "add", f"{THERE}/30", "dev", "awthere")
        _ip("-n", name, "link", "set", "awthere", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _ip("netns", "del", name)


@dataclass
class Engine:
    """A vLLM on the other host."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://{THERE}:{self.port}"

    def here(self) -> set[str]:
        """The releases that it fetched."""
        return {f"sha256:{f.parent.name}" for f in self.home.glob("checkouts/*/servable")}

    def wait(self) -> None:
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.told()
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(self.url + "/health", timeout=5).status_code == 200:
                    return
            time.sleep(0.3)
        raise AssertionError(self.told())

    def told(self) -> str:
        return (self.home / "log").read_text()[-3000:]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        self.process.wait(60)


def start_engine(host: str, base: Base, home: Path, hidden: Path, port: int, token: str) -> Engine:
    """One that knows the registry by the gateway's address and a reader's token."""
    home.mkdir()
    flags = {
        "model": str(base.served), "served-model-name": base.name, "host": THERE,
        "port": port, "dtype": "float32", "max-model-len": 512, "max-num-seqs": 8,
        "max-lora-rank": 16, "max-loras": 2, "max-cpu-loras": 5,
    }  # fmt: skip
    words = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server", "--enable-lora"]
    own = environment(home, bases=None)
    hide = 'mount -t tmpfs none "$0" && exec "$@"'
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", host, "sh", "-c", hide, str(hidden), *command, *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **own,
                "VLLM_PLUGINS": "adapterworks",
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "VLLM_HOST_IP": "127.0.0.1",
                "HF_HUB_OFFLINE": "1",
                "VLLM_API_KEY": KEY,
                "ADAPTERS_REGISTRY": f"http://{HERE}:8097",
                "ADAPTERS_REGISTRY_TOKEN": token,
                "ADAPTERS_REGISTRY_INSECURE": "1",
            },
        )
    return Engine(home, port, process)


@dataclass
class Asked:
    """What came of requests that were asked for one after the other, in threads."""

    url: str
    key: str
    over: threading.Event = field(default_factory=threading.Event)
    failed: list[str] = field(default_factory=list)
    done: int = 0

    def ask(self, name: str, tokens: int = 24) -> str:
        """One stream to its end; returns the digest of its receipt."""
        client = openai.OpenAI(base_url=self.url + "/v1", api_key=self.key, max_retries=0)
        with client, client.chat.completions.with_streaming_response.create(
            model=name, messages=[{"role": "user", "content": "Hello"}], max_tokens=tokens,
            stream=True, extra_body={"ignore_eos": True}, timeout=300,
        ) as answer:  # fmt: skip
            lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
            assert lines[-1] == "data: [DONE]", lines[-1]
            return answer.headers["x-adapter-digest"]

    def go_on(self, name: str) -> None:
        while not self.over.is_set():
            try:
                self.ask(name)
            except (openai.OpenAIError, httpx.HTTPError, AssertionError) as error:
                self.failed.append(f"{type(error).__name__} {error}")
            else:
                self.done += 1

    def wait_for(self, more: int) -> None:
        until, deadline = self.done + more, time.monotonic() + 300
        while self.done < until:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_engines_on_another_host_fetch_prove_serve_die_and_are_joined(
    other_host: str, base: Base, made: dict[str, Made], tmp_path: Path
) -> None:
    hidden = tmp_path / "gateway"
    hidden.mkdir()
    listed = tmp_path / "engines.toml"
    (tmp_path / "gateway.toml").write_text(
        f"""
host = "{HERE}"
[[engines]]
discover = "file:engines.toml"
checkouts = "fetched"
api_key_env = "ENGINE_KEY"
seconds = 0.5
[supervisor]
health_interval = 0.5
[residency]
max_loras = 2
max_cpu_loras = 3
cold_wait_seconds = 200.0
[registry]
on = true
"""
    )

    def name(*engines: Engine) -> None:
        (tmp_path / "new").write_text(f"urls = {json.dumps([e.url for e in engines])}\n")
        (tmp_path / "new").rename(listed)

    with Registry.open(
        database=f"sqlite:///{hidden / 'index.db'}", blobs=str(hidden / "blobs"), home=hidden
    ) as registry:
        digests = {n: publish(registry, made[n], base, n).digest for n in NAMES}
        key = (
            TenantAdmin(registry.database, who="tester")
            .add("acme", allow=("*",), limits=Limits())[1]
            .text
        )
    name()
    gateway = Serving(
        hidden, [], "--config", str(tmp_path / "gateway.toml"), "--port", "8097",
        environment={"ENGINE_KEY": KEY, "ADAPTERS_GATEWAY_TRUST__PROOF": "require"},
    )  # fmt: skip
    token = gateway.run("registry", "token", "create", "engines", "--role", "reader").stdout.strip()
    engines: list[Engine] = []

    def start(port: int) -> Engine:
        engines.append(
            start_engine(other_host, base, tmp_path / f"host-{port}", hidden, port, token)
        )
        return engines[-1]

    asked = Asked(f"http://{HERE}:8097", key)
    threads = [threading.Thread(target=asked.go_on, args=(n,)) for n in NAMES * 2]
    try:
        first, second = start(8001), start(8002)
        for engine in (first, second):
            engine.wait()
        name(first, second)
        gateway.wait_ready()
        assert {n: asked.ask(n) for n in NAMES} == digests
        assert first.here() | second.here() == set(digests.values())
        assert not list(hidden.glob("checkouts/*/servable"))
        for thread in threads:
            thread.start()
        asked.wait_for(8)
        assert asked.failed == []
        first.end(signal.SIGKILL)
        asked.wait_for(8)
        at_the_time = len(threads)  # no more streams can have been on it
        assert len(asked.failed) <= at_the_time, asked.failed
        killed = list(asked.failed)
        third = start(8003)
        third.wait()
        name(second, third)
        asked.wait_for(8)
        second.end(signal.SIGKILL)  # so that the new one must have all
        asked.wait_for(8)
        assert len(asked.failed) - len(killed) <= at_the_time, asked.failed
        assert third.here() == set(digests.values())
        assert {n: asked.ask(n) for n in NAMES} == digests
    finally:
        asked.over.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join(300)
        for engine in engines:
            engine.end(signal.SIGKILL)
        told = gateway.end()
    assert "Traceback" not in told
