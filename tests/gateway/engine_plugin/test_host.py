"""What vLLM's own kind of application offers when our plugin is attached to it."""

from __future__ import annotations

import json
from argparse import Namespace
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from adapterworks import engine_host
from adapterworks.engine_host import EngineHost, open_registry
from adapterworks.gateway.engine_plugin import identity
from adapterworks.gateway.engine_plugin.releases import LOAD
from adapterworks.manifests.errors import Unavailable
from adapterworks.settings import Settings

RECORD = {"name": "tiny", "digest": "sha256:" + "b" * 64, "quantization": "none"}


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """An engine on a prepared base, started with a key."""
    monkeypatch.setattr(identity, "kind_of", lambda args, dtype: {"vllm": "0"})
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VLLM_API_KEY", "key")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "base.json").write_text(json.dumps(RECORD))
    app = FastAPI()
    host = EngineHost()
    host.attach_router(app)
    args: Any = Namespace(
        model=str(tmp_path / "checkpoint"), served_model_name=["tiny"], dtype="float32",
        quantization=None, api_key=None,
    )  # fmt: skip
    app.state.openai_serving_models = SimpleNamespace(lora_requests={})
    await host.init_state(SimpleNamespace(), app.state, args)
    return TestClient(app)


async def test_it_says_its_base(client: TestClient) -> None:
    answer = client.get(identity.PATH)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["name"], said["model"], said["digest"]) == ("tiny", "tiny", RECORD["digest"])
    assert said["exact"] is True


async def test_it_fetches_for_who_shows_the_key(client: TestClient, tmp_path: Path) -> None:
    asked = {"digest": "sha256:" + "a" * 64}
    assert client.post(LOAD, json=asked).status_code == 401
    answer = client.post(LOAD, json=asked, headers={"authorization": "Bearer key"})
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "this host knows no registry"
    assert not (tmp_path / "home").exists()  # none is made for the asking


def test_a_registry_of_this_host_is_one_that_is_there(tmp_path: Path) -> None:
    settings = Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)})
    with pytest.raises(Unavailable, match="knows no registry"):
        open_registry(settings)
    (tmp_path / "index.db").touch()
    with open_registry(settings) as registry:
        assert registry.checkouts == tmp_path / "checkouts"
        assert registry.most_checkouts is None  # the cache makes room


def test_vllm_finds_it_by_its_name() -> None:
    (found,) = entry_points(group="vllm.endpoint_plugins", name="adapterworks")
    assert found.load() is engine_host.EngineHost
