"""Temporary folders: gone when their block ends, the dead's after a day, nobody else's ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapterworks.registry.releases.scratch import MARK, held_folder, kept_folder, scratch_folder


def age(folder: Path, hours: float) -> None:
    """Make a folder that many hours old."""
    then = time.time() - hours * 3600
    os.utime(folder, (then, then))


def left_by_the_dead(root: Path, name: str, hours: float) -> Path:
    """A marked folder that nobody holds."""
    with held_folder(root / name):
        (root / name / "gigabytes").write_text("x")
    age(root / name, hours)
    return root / name


def test_a_folder_is_gone_when_its_block_ends_however_it_ends(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "new", "import") as folder:
        assert list(folder.iterdir()) == []  # it may become a release as it is
        (folder / "file").write_text("x")
    with pytest.raises(ValueError, match="stop"), scratch_folder(tmp_path / "new", "pull"):
        raise ValueError("stop")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_kept_folder_stays_when_its_block_fails(tmp_path: Path) -> None:
    with kept_folder(tmp_path, "try") as folder:
        (folder / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="stop"), kept_folder(tmp_path, "try"):
        raise ValueError("stop")
    (left,) = tmp_path.iterdir()
    assert (left / "try").is_dir()
    age(left, 25)
    with scratch_folder(tmp_path, "x"):
        assert not left.exists()


def test_what_a_killed_process_left_is_swept_a_day_later(tmp_path: Path) -> None:
    program = """
import os, pathlib, sys
from adapterworks.registry.releases.scratch import scratch_folder
with scratch_folder(pathlib.Path(sys.argv[1]), "pull"):
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    (killed,) = tmp_path.iterdir()
    age(killed, 23)
    with scratch_folder(tmp_path, "x"):
        assert killed.exists()
    age(killed, 25)
    with scratch_folder(tmp_path, "x"):
        assert not killed.exists()


def test_what_is_not_marked_is_never_removed_however_old(tmp_path: Path) -> None:
    """Wherever the root is: a home, a disk of models, a folder of links."""
    root = tmp_path / "home"
    (root / "my-project").mkdir(parents=True)
    (root / "my-project" / "thesis.txt").write_text("three years of work")
    (root / "import-abcdefgh").mkdir()  # called as ours are
    (root / "notes.txt").write_text("x")
    elsewhere = left_by_the_dead(tmp_path, "elsewhere", 99)
    (root / "link").symlink_to(elsewhere, target_is_directory=True)
    for path in root.iterdir():
        age(path, 99)
    before = sorted(tmp_path.rglob("*"))
    with scratch_folder(root, "x"):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_held_is_not_swept_however_old(tmp_path: Path) -> None:
    with kept_folder(tmp_path, "rebuild") as folder:  # what is written below it does not touch it
        age(folder.parent, 99)
        with scratch_folder(tmp_path, "x"):
            assert folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    with held_folder(tmp_path / "stage"):
        with pytest.raises(BlockingIOError), held_folder(tmp_path / "stage"):
            pass
        assert (tmp_path / "stage" / MARK).exists()
    with held_folder(tmp_path / "stage"):
        pass
