"""Checkouts of a registry behind a server are bounded on the machine that has them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from adapterworks.app import App
from adapterworks.gateway.tokens.roles import Role
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.remotes.http.registry import RemoteRegistry
from adapterworks.settings import Settings
from tests.registry.remotes.http.conftest import Server

_DAY = 86400.0


def _asked(folder: Path, days: float) -> None:
    then = time.time() - days * _DAY
    os.utime(folder, (then, then))


def _checked_out(remote: RemoteRegistry) -> tuple[list[str], list[Path]]:
    digests = [remote.resolve(f"medical@{number}").digest for number in (1, 2, 3)]
    folders = [remote.checkout(digest, "servable") for digest in digests[:2]]
    for folder in folders:
        _asked(folder, days=2)
    return digests, folders


def test_what_was_asked_for_longest_ago_makes_room(server: Server) -> None:
    remote = server.remote(Role.READER)
    digests, (first, second) = _checked_out(remote)
    remote.most_checkouts = 0
    with remote.hold(digests[1], kind="build"):  # it counts as just asked for
        new = remote.checkout(digests[2], "servable")
        assert [folder.exists() for folder in (first, second, new)] == [False, True, True]
    assert remote.checkout(digests[0], "servable") == first
    assert first.exists()


def test_what_is_held_for_days_stays(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWALS", 1e5)
    remote = server.remote(Role.PUBLISHER)
    digests, (_, held) = _checked_out(remote)
    with remote.hold(digests[1], kind="build"):
        _asked(held, days=2)
        deadline = time.monotonic() + 60
        while held.stat().st_mtime < time.time() - _DAY:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_the_bound_is_that_of_the_settings(tmp_path: Path) -> None:
    environ = {
        "ADAPTERS_HOME": str(tmp_path),
        "ADAPTERS_REGISTRY": "https://registry.example",
        "ADAPTERS_REGISTRY_TOKEN": "awr-x",
        "ADAPTERS_CHECKOUTS": "2GB",
    }
    registry = App(Settings.from_environment(environ)).registry
    assert registry.most_checkouts == 2 * 10**9
