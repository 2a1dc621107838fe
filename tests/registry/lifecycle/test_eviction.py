"""Checkouts make room by when they were asked for; what somebody uses stays; nothing is lost."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.registry.index import schema
from adapterworks.registry.lifecycle import eviction, leases
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish

DAY = 86400.0


@pytest.fixture
def four(local_registry: Registry, tmp_path: Path) -> list[Path]:
    """Checkouts of four releases, asked for 5, 4, 3 and 2 days ago, of 30 bytes or so each."""
    folders = []
    for number in range(1, 5):
        published = publish(local_registry, tmp_path, number)
        folder = local_registry.checkout(published.digest, "servable")
        _asked(folder, days=6 - number)
        folders.append(folder)
    return folders


def _asked(folder: Path, *, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(folder, (then, then))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _evict(registry: Registry, most: int) -> int:
    return len(eviction.evict(registry.database, registry.checkouts, most))


def test_those_asked_for_longest_ago_go_until_the_rest_fits(
    local_registry: Registry, four: list[Path]
) -> None:
    total = sum(map(_size, four))
    assert _evict(local_registry, total) == 0
    assert _evict(local_registry, total - 1) == 1
    assert [folder.exists() for folder in four] == [False, True, True, True]
    assert _evict(local_registry, _size(four[3])) == 2
    assert [folder.exists() for folder in four] == [False, False, False, True]


def test_asking_for_one_keeps_it(local_registry: Registry, four: list[Path]) -> None:
    digest = f"sha256:{four[0].parent.name}"
    assert local_registry.checkout(digest, "servable") == four[0]
    assert time.time() - four[0].stat().st_mtime < DAY  # five days old, and asked for now
    _asked(four[0], days=1.5)  # what was asked for today would stay whatever room is wanted
    assert _evict(local_registry, _size(four[0])) == 3
    assert four[0].exists()


def test_none_that_was_asked_for_today_goes(local_registry: Registry, four: list[Path]) -> None:
    for folder in four[:3]:
        _asked(folder, days=0.99)
    assert _evict(local_registry, 0) == 1
    assert [folder.exists() for folder in four] == [True, True, True, False]


def test_none_that_is_leased_goes(local_registry: Registry, four: list[Path]) -> None:
    with local_registry.hold(f"sha256:{four[1].parent.name}", kind="serving"):
        assert _evict(local_registry, 0) == 3
        assert four[1].exists()
    assert _evict(local_registry, 0) == 1


def test_a_new_checkout_makes_room_and_what_went_is_made_again(
    four: list[Path], local_registry: Registry, tmp_path: Path
) -> None:
    with Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}",
        blobs=str(tmp_path / "blobs"),
        home=tmp_path / "home",
        most_checkouts=2 * _size(four[0]) + 10,
    ) as bounded:
        fifth = publish(bounded, tmp_path, 5)
        new = bounded.checkout(fifth.digest, "servable")
        assert [folder.exists() for folder in four] == [False, False, False, True]
        assert new.exists()
        again = bounded.checkout(f"sha256:{four[0].parent.name}", "servable")
        assert again == four[0]
        assert again.exists()
        assert bounded.upkeep.verify().clean


def test_a_lease_is_renewed_until_its_block_ends(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build may take days."""
    monkeypatch.setattr(leases, "RENEWALS", 1e4)
    published = publish(registry, tmp_path)
    query = sa.select(schema.leases.c.expires)
    with registry.hold(published.digest, kind="build"):
        with registry.database.read() as connection:
            first = connection.scalar(query)
        deadline = time.monotonic() + 60
        while True:
            with registry.database.read() as connection:
                if (connection.scalar(query) or 0.0) > (first or 0.0):
                    break
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with registry.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.leases)) == 0
