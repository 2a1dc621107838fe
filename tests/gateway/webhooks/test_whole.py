"""`[[webhooks]]` of a gateway, and `adapters webhook`, as an operator has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapterworks.app import App
from adapterworks.cli.main import cli
from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.config.webhooks import WebhookTable
from adapterworks.manifests.errors import InvalidInput, NotFound, Unavailable
from adapterworks.manifests.faults import ManifestError
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from adapterworks.serving import compose
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop
from tests.gateway.webhooks.test_sending import SECRET, Receiver, receiving
from tests.registry.releases import publish
from tests.waiting import until


@pytest.fixture
def receiver(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """An address, whose secret is in `CI_SECRET`."""
    monkeypatch.setenv("CI_SECRET", SECRET)
    manager = receiving()
    yield loop.run(manager.__aenter__())
    loop.run(manager.__aexit__(None, None, None))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADAPTERS_USER", "tester")
    for name in ("ADAPTERS_DATABASE", "ADAPTERS_BLOBS"):
        monkeypatch.delenv(name, raising=False)
    return App()


def run(app: App, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["webhook", *arguments], obj=app)


def config_at(folder: Path, url: str, more: str = "") -> Path:
    path = folder / "gateway.toml"
    table = f'[[webhooks]]\nname = "ci"\nurl = "{url}"\nsecret_env = "CI_SECRET"\n{more}'
    path.write_text(table)
    return path


def test_a_gateway_tells_what_happens_to_its_registry(
    app: App, receiver: Receiver, launcher: Launcher, base: Base, standin: StandIn, tmp_path: Path
) -> None:
    table = WebhookTable(name="ci", url=receiver.url, secret_env="CI_SECRET")
    config = GatewayConfig(open=True, webhooks=(table,))
    engine = launcher.standin(base, standin)
    running = launcher.gateway(app.registry, [engine], tmp_path / "spool", config)
    until(lambda: _known(app.registry))
    publish(app.registry, tmp_path, 1, alias="prod")
    until(lambda: len(receiver.had) == 2)
    assert sorted(event.type for event in receiver.events()) == ["alias.moved", "release.published"]
    with running.http() as http:
        told = http.get("/metrics").text
    assert 'adapters_webhooks_total{address="ci",outcome="sent"} 2.0' in told
    listed = json.loads(run(app, "list", "--json").stdout)
    assert {one["state"] for one in listed} == {"sent"}
    done = run(app, "resend", listed[0]["event"])
    assert done.stdout == f"{listed[0]['event']} is sent again to 1 address\n"
    until(lambda: len(receiver.had) == 3)
    assert receiver.had[2][0]["webhook-id"] == listed[0]["event"]


def _known(registry: Registry) -> bool:
    """Whether the gateway has begun to look."""
    import sqlalchemy as sa

    from adapterworks.gateway.storage.webhooks import addresses

    with registry.database.read() as connection:
        return connection.execute(sa.select(addresses)).first() is not None


def test_an_address_is_tried_out(app: App, receiver: Receiver, tmp_path: Path) -> None:
    path = config_at(tmp_path, receiver.url)
    done = run(app, "test", "ci", "--config", str(path))
    assert done.stdout == "ci took it: status 200\n"
    headers, body = receiver.had[0]
    assert json.loads(body)["type"] == "webhook.test"
    assert headers["webhook-id"] == json.loads(body)["id"]
    receiver.answers = [503]
    result = run(app, "test", "ci", "--config", str(path))
    assert isinstance(result.exception, Unavailable)
    assert result.exception.message == "`ci` did not take it: status 503"
    unknown = run(app, "test", "cd", "--config", str(path))
    assert isinstance(unknown.exception, NotFound)
    assert unknown.exception.hint == "it has: ci"


def test_a_secret_is_made_and_an_unknown_event_is_no_delivery(app: App) -> None:
    first, second = (run(app, "secret").stdout.strip() for _ in range(2))
    assert first.startswith("whsec_")
    assert first != second
    assert isinstance(run(app, "resend", "evt_none").exception, NotFound)
    assert run(app, "list").exit_code == 0


def test_a_secret_that_is_missing_is_said_before_an_engine_starts(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI_SECRET", raising=False)
    config = load_gateway_config(config_at(tmp_path, "https://ci.example/x"), {})
    with pytest.raises(InvalidInput, match=r"`\$CI_SECRET` is not set"):
        compose(app, config, only=None, say=lambda line: pytest.fail(line))


@pytest.mark.parametrize(
    ("url", "more", "fault"),
    [
        ("http://ci.example/x", "", "should begin with `https://`"),
        ("https://me:pw@ci.example/x", "", "has a password in it"),
        ("ftp://ci.example", "", "should be an address"),
        ("https://ci.example", 'events = ["alias.*", "job.done"]', "has `job.done`, which is none"),
        ("https://ci.example", "retries = 3", "unknown key"),
    ],
)
def test_what_is_wrong_in_the_table_is_said(
    tmp_path: Path, url: str, more: str, fault: str
) -> None:
    with pytest.raises(ManifestError, match=fault):
        load_gateway_config(config_at(tmp_path, url, more), {})


def test_events_are_chosen_by_their_beginning(tmp_path: Path) -> None:
    path = config_at(tmp_path, "https://ci.example", 'events = ["fine_tuning.*", "alias.moved"]')
    (table,) = load_gateway_config(path, {}).webhooks
    assert table.wants("fine_tuning.job.failed")
    assert table.wants("alias.moved")
    assert not table.wants("alias.requested")
    assert not table.wants("batch.completed")
