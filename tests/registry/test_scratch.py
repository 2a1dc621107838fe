"""Temporary folders: gone when their block ends, and what the dead left after a day."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from adapterworks.registry.releases.scratch import scratch_folder


def test_a_folder_is_gone_when_its_block_ends_however_it_ends(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "new", "import") as folder:
        assert folder.name.startswith("import-")
        (folder / "file").write_text("x")
    with pytest.raises(ValueError, match="stop"), scratch_folder(tmp_path / "new", "pull"):
        raise ValueError("stop")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_is_a_day_old_is_swept_and_nothing_younger(tmp_path: Path) -> None:
    for name, hours in (("old", 25), ("young", 23)):
        (tmp_path / name).mkdir()
        then = time.time() - hours * 3600
        os.utime(tmp_path / name, (then, then))
    with scratch_folder(tmp_path, "x"):
        assert not (tmp_path / "old").exists()
        assert (tmp_path / "young").exists()
