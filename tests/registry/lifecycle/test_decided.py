"""A publish moves an alias, but not over what somebody decided while the release was made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Published
from tests.registry.releases import draft, folder, publish


def newest(registry: Registry) -> int:
    return registry.log.events("medical", limit=1)[0].sequence


def finish(registry: Registry, path: Path, number: int, since: int) -> Published:
    """A build that began at `since` publishes."""
    files = folder(path / f"release-{number}", number)
    return registry.publish(files, draft(number), alias="prod", who="builder", since=since)


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> Registry:
    """`medical` with two versions, of which the second holds `prod`."""
    publish(registry, tmp_path, 1, alias="prod")
    publish(registry, tmp_path, 2, alias="prod")
    return registry


@pytest.mark.parametrize(
    ("decide", "words", "left"),
    [
        (lambda r: r.rollback("medical", "prod", who="ann", why="ill"), "rolled back by ann", 1),
        (lambda r: r.promote("medical", 1, "prod", who="bob"), "promoted by bob", 1),
        (
            lambda r: r.promote("medical", 1, "prod", who="cy", weight=10),
            "given a canary by cy",
            2,
        ),
    ],
    ids=["rollback", "promote", "canary"],
)
def test_what_somebody_decided_meanwhile_holds(
    two: Registry, tmp_path: Path, decide: Callable[[Registry], object], words: str, left: int
) -> None:
    since = newest(two)
    decide(two)
    before = two.weights("medical", "prod")
    published = finish(two, tmp_path, 3, since)
    assert (published.version, published.created) == (3, True)
    assert f"`medical:prod` was {words} at " in published.kept
    assert two.weights("medical", "prod") == before
    assert before[0].version == left


def test_an_alias_that_was_removed_meanwhile_does_not_come_back(
    two: Registry, tmp_path: Path
) -> None:
    since = newest(two)
    two.retire("medical", "prod", who="ann", why="nobody asks it")
    published = finish(two, tmp_path, 3, since)
    assert "was removed by ann" in published.kept
    assert "(nobody asks it)" in published.kept
    assert two.name("medical").aliases == {}


def test_another_build_meanwhile_is_nobodys_decision(two: Registry, tmp_path: Path) -> None:
    """The one that ends last holds the alias, as without anybody's word."""
    since = newest(two)
    assert finish(two, tmp_path, 3, since).kept == ""
    assert finish(two, tmp_path, 4, since).kept == ""
    assert two.resolve("medical:prod").version == 4


def test_what_was_decided_before_is_no_hindrance(two: Registry, tmp_path: Path) -> None:
    two.rollback("medical", "prod", who="ann")
    assert finish(two, tmp_path, 3, newest(two)).kept == ""
    assert two.resolve("medical:prod").version == 3


def test_another_alias_is_another_matter(two: Registry, tmp_path: Path) -> None:
    since = newest(two)
    two.promote("medical", 1, "staging", who="ann")
    assert finish(two, tmp_path, 3, since).kept == ""
    assert two.resolve("medical:prod").version == 3
