"""Which releases decide what engines are started and with which limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.gateway.engines.plan import served_releases
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from tests.registry.releases import publish


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}", blobs=str(tmp_path / "b"), home=tmp_path
    ) as opened:
        yield opened


def ranked(rank: int) -> Servable:
    return Servable(form="lora", origin="native", rank=rank)


def served(registry: Registry) -> tuple[set[str], list[str]]:
    said: list[str] = []
    return {release.name for release in served_releases(registry, said.append)}, said


def test_a_pulled_release_counts_when_an_alias_points_to_it(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1)
    publish(registry, tmp_path, 2, name="stranger", servable=ranked(512))
    assert served(registry)[0] == {"medical", "stranger"}
    registry.log.note("stranger", 1, "pull", who="bob")
    assert served(registry)[0] == {"medical"}
    registry.promote("stranger", 1, "prod", who="bob")
    assert served(registry)[0] == {"medical", "stranger"}
    registry.retire("stranger", "prod", who="bob")
    publish(registry, tmp_path, 3, name="stranger")  # built on it, here
    assert served(registry)[0] == {"medical", "stranger"}


def test_a_rank_that_no_engine_has_does_not_keep_the_others_from_being_served(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1)
    publish(registry, tmp_path, 2, name="huge", servable=ranked(513), alias="prod")
    publish(registry, tmp_path, 3, name="large", servable=ranked(512))
    names, said = served(registry)
    assert names == {"medical", "large"}
    assert said == ["left out: `huge` has rank 513, engines have 512"]
