"""A build that the disk has no room for is refused before it trains."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.builders.plan.disk import require_disk
from adapterworks.manifests.errors import Refused

PLAN = cast("Any", SimpleNamespace(disk=5_000_000_000))


def test_what_is_needed_and_what_is_free_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def free(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(free=4_999_999_999)

    monkeypatch.setattr(shutil, "disk_usage", free)
    with pytest.raises(Refused, match=r"writes 5\.0 GB .* 5\.0 GB are free"):
        require_disk(PLAN, tmp_path / "builds" / "one")
    assert asked == [tmp_path], "the disk is that of the folder above, where there is none yet"


def test_what_the_build_has_written_already_needs_no_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4_999_999_990))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "weights").write_bytes(b"0123456789")
    require_disk(PLAN, tmp_path)
    (tmp_path / "checkpoints" / "weights").write_bytes(b"012345678")
    with pytest.raises(Refused):
        require_disk(PLAN, tmp_path)


def test_there_is_room_on_this_disk(tmp_path: Path) -> None:
    require_disk(cast("Any", SimpleNamespace(disk=1)), tmp_path / "new")
