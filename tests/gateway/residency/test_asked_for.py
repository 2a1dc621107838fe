"""`adapters apply` and a running gateway: what is declared as pinned is loaded and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateways import make_resident, running_gateways
from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.bases.base import Base
from tests.gateway.adapters import Made, publish
from tests.gateway.conftest import open_registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve
from tests.gateway.serving import Serving

MANIFEST = """
[adapter]
name = "medical"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "rows.jsonl"
[serve]
pinned = {pinned}
[publish]
alias = "prod"
"""


@pytest.fixture
def ads(tmp_path: Path) -> Path:
    """A folder with one manifest and its rows."""
    folder = tmp_path / "ads"
    folder.mkdir()
    row = {"messages": [{"role": r, "content": "x"} for r in ("user", "assistant")]}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "medical.toml").write_text(MANIFEST.format(pinned="true"))
    return folder


@pytest.fixture
def serving(loop: Loop, standin: StandIn, tmp_path: Path) -> Iterator[Serving]:
    engine = loop.run(serve(standin.app()))
    open_registry(tmp_path / "home").close()
    serving = Serving(tmp_path / "home", [engine.url], "--open")
    serving.wait_ready()
    yield serving
    serving.end()
    loop.run(engine.stop())


def published(serving: Serving, made: Made, base: Base, ads: Path) -> str:
    """The release that the manifest gave, as far as status can tell; returns its digest."""
    manifest = load_manifest(ads / "medical.toml").model_dump(mode="json")
    with open_registry(serving.home) as registry:
        result = publish(
            registry, made, base, "medical", manifest=manifest, plan="sha256:" + "0" * 64
        )
    return result.digest


def loaded(serving: Serving) -> dict[str, Any]:
    """Digest → what the gateway says of it."""
    ((_, status),) = running_gateways(serving.home).items()
    return {adapter["digest"]: adapter for adapter in status["engines"][0]["adapters"]}


def test_apply_has_a_pinned_adapter_loaded_and_kept(
    serving: Serving, made: dict[str, Made], base: Base, ads: Path
) -> None:
    """It was published after the gateway had started, whose pins follow the alias by themselves."""
    first = published(serving, made["medical"], base, ads)
    assert loaded(serving) == {}
    checked = serving.run("apply", str(ads), "--check")
    assert checked.returncode == 0 or "not resident" in checked.stdout
    applied = serving.run("apply", str(ads))
    assert applied.returncode == 0, applied.stderr
    assert (loaded(serving)[first]["state"], loaded(serving)[first]["pinned"]) == ("resident", True)
    assert serving.run("apply", str(ads), "--check").returncode == 0
    # The next version takes its place; what no alias holds any more may be unloaded.
    second = published(serving, made["code"], base, ads)
    assert serving.run("apply", str(ads)).returncode == 0
    assert {digest: entry["pinned"] for digest, entry in loaded(serving).items()} == {
        first: False,
        second: True,
    }


def test_what_is_not_pinned_is_no_difference(
    serving: Serving, made: dict[str, Made], base: Base, ads: Path
) -> None:
    (ads / "medical.toml").write_text(MANIFEST.format(pinned="false"))
    published(serving, made["medical"], base, ads)
    checked = serving.run("apply", str(ads), "--check")
    assert checked.returncode == 0, checked.stdout
    assert "loaded when it is asked for" in serving.run("status", str(ads)).stdout


def test_a_gateway_that_is_gone_is_said(serving: Serving) -> None:
    ((socket, _),) = running_gateways(serving.home).items()
    serving.process.kill()
    assert serving.process.stdout is not None
    serving.process.stdout.read()  # to its end: nobody holds the other side
    with pytest.raises(Unavailable, match="does not answer"):
        make_resident(socket, "sha256:" + "0" * 64, pin=False)
    assert running_gateways(serving.home) == {}
