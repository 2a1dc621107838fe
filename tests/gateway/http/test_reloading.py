"""`gateway.toml` read again by a gateway that runs: by SIGHUP, and where the file is watched."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import openai
import pytest

from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.config.reload import Reloaded
from adapterworks.gateway.config.tables import (
    GatewayConfig,
    LimitsTable,
    ResidencyTable,
    TrustTable,
)
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http import reloading
from adapterworks.gateway.http.status import describe
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, publish
from tests.gateway.conftest import open_registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, serve
from tests.gateway.serving import Serving
from tests.waiting import until

QUESTION = {"query": "hello", "max_tokens": 2}


@pytest.fixture
def engine_url(loop: Loop, standin: StandIn) -> Iterator[str]:
    engine = loop.run(serve(standin.app()))
    yield engine.url
    loop.run(engine.stop())


@pytest.mark.parametrize("how", ["SIGHUP", "watched"])
def test_a_file_that_changed_is_taken_and_one_with_a_fault_is_not(
    how: str, engine_url: str, made: dict[str, Made], base: Base, tmp_path: Path
) -> None:
    home, path = tmp_path / "home", tmp_path / "gateway.toml"
    publish(open_registry(home), made["medical"], base, "medical")
    path.write_text('log = {level = "info"}\n')
    options = ["--open", "--config", str(path), *(["--reload"] if how == "watched" else [])]
    serving = Serving(home, [engine_url], *options)
    try:
        serving.wait_ready()

        def rewrite(text: str) -> None:
            path.with_suffix(".new").write_text(text)
            path.with_suffix(".new").replace(path)
            if how == "SIGHUP":
                serving.process.send_signal(signal.SIGHUP)

        def status() -> int:
            return httpx.post(serving.url + "/generate", json=QUESTION, timeout=60).status_code

        assert status() == 400  # it names no adapter
        rewrite('port = 1\nlog = {level = "info"}\ndefault_adapter = "medical"\n')
        until(lambda: status() == 200)
        rewrite('log = {level = "info"}\ndefault_adaptor = "medical"\n')
        until(lambda: "did you mean `default_adapter`?" in serving.told())
        assert status() == 200
        rewrite('log = {level = "info"}\n')
        until(lambda: status() == 400)
    finally:
        told = serving.end()
    assert "changed: `default_adapter`" in told
    assert "the configuration is as it was" in told


def test_limits_and_pins_change_under_way(
    launcher: Launcher, standin: StandIn, made: dict[str, Made], base: Base, registry: Registry,
    tmp_path: Path,
) -> None:  # fmt: skip
    publish(registry, made["medical"], base, "medical")
    publish(registry, made["code"], base, "code")
    admin = TenantAdmin(registry.database, who="tester")
    _, key = admin.add("acme", allow=("*",), limits=Limits())
    old = GatewayConfig(residency=ResidencyTable(pins=("medical",)), trust=TrustTable(proof="off"))
    running = launcher.gateway(registry, [launcher.standin(base, standin)], tmp_path / "spool", old)
    client = running.client(key.text)
    ask = lambda: client.completions.create(model="code", prompt="hello", max_tokens=1)  # noqa: E731
    for _ in range(3):
        ask()
    new = GatewayConfig(
        residency=ResidencyTable(pins=("code",)), trust=old.trust, limits=LimitsTable(rpm=1), port=1
    )

    async def reconfigure() -> tuple[str, ...]:
        return running.gateway.reconfigure(new).taken

    assert running.loop.run(reconfigure()) == ("residency.pins", "limits")
    with pytest.raises(openai.RateLimitError):
        [ask() for _ in range(3)]

    def pinned() -> list[str]:
        (shown,) = describe(running.gateway, 0)["engines"]
        return [one["name"] for one in shown["adapters"] if one["pinned"]]

    until(lambda: pinned() == ["code"])
    assert running.gateway.config.port == old.port


async def test_what_was_taken_before_the_webhooks_failed_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Limits hold by the new configuration: it is not as it was."""

    async def away(gateway: Gateway) -> None:
        raise Unavailable("the index is away")

    monkeypatch.setattr(reloading, "restart_webhooks", away)
    new = GatewayConfig()
    taken = Reloaded(new, ("limits", "webhooks"), ())
    gateway = cast(Gateway, SimpleNamespace(reconfigure=lambda config: taken))
    caplog.set_level("INFO")
    await reloading.Reloading(gateway, reloading.Source(lambda: new)).reload()
    assert "as it was" not in caplog.text
    assert "webhooks are not sent by it yet; have it read again: the index is away" in caplog.text
    assert "changed: `limits`, `webhooks`" in caplog.text


async def test_a_file_that_cannot_be_read_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raised ended the worker, and `/ready` was 503 until it had begun again."""
    gateway = cast(Gateway, SimpleNamespace())  # nothing of it is touched
    source = reloading.Source(lambda: load_gateway_config(tmp_path))  # a folder, for whom root is
    await reloading.Reloading(gateway, source).reload()
    assert "the configuration is as it was" in caplog.text
    assert "cannot be read: Is a directory" in caplog.text
