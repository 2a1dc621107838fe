"""An engine's name is its own: what stands beside it changes no adapter's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.engines.remote import engine_id
from adapterworks.gateway.engines.target import Target
from adapterworks.manifests.faults import ManifestError
from tests.gateway.engines.test_pool import BASE, Idle, see

URLS = [f"http://gpu-{number}:8000" for number in range(10)]


def _places(urls: list[str]) -> dict[int, str]:
    pool = EnginePool([Idle(engine_id(url)) for url in urls])  # type: ignore[misc]
    targets = {n: Target("a", "a", BASE, digest=f"sha256:{n:064x}") for n in range(300)}
    return {number: pool.route(target, see).id for number, target in targets.items()}


def test_without_the_first_of_ten_only_its_adapters_move() -> None:
    before, after = _places(URLS), _places(URLS[1:])
    moved = {number for number in before if before[number] != after[number]}
    assert moved == {number for number, place in before.items() if place == engine_id(URLS[0])}
    assert 10 < len(moved) < 60
    assert _places(URLS[::-1]) == before


def test_it_says_no_address_and_is_the_same_with_a_slash() -> None:
    name = engine_id("http://ann:secret@gpu-1:8000")
    assert name.startswith("remote-")
    assert len(name) == len("remote-") + 8
    assert not any(part in name for part in ("ann", "secret", "gpu-1", "8000"))
    assert engine_id("http://ann:secret@gpu-1:8000/") == name


def test_one_engine_is_listed_once_however_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    tables = (f'[[engines]]\nbase = "b"\nurl = "{url}"\n' for url in ("http://a:1", "http://A:1/"))
    file.write_text("".join(tables))
    with pytest.raises(ManifestError, match="listed twice"):
        load_gateway_config(file, {})
