"""The project as a whole: versions agree, the wheel is complete, pins match the lock."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from adapterworks import __version__

ROOT = Path(__file__).resolve().parents[2]
PINNED = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets")


def test_version_is_the_changelogs_newest_release() -> None:
    newest = re.search(
        r"^## (?!Unreleased)(\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest is not None
    assert newest[1] == __version__


def test_pins_agree_with_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "requirements" / "cpu.lock").read_text().splitlines()
    for name in PINNED:
        pin = next(line for line in project["dependencies"] if line.startswith(f"{name}=="))
        assert pin in lock
    assert project["optional-dependencies"]["cpu"][0] in lock


def test_the_lock_leaves_out_what_breaks_this_torch() -> None:
    lines = (ROOT / "requirements/cpu.lock").read_text().splitlines()
    names = {line.partition("==")[0] for line in lines}
    assert not names & {"torchvision", "torchaudio", "torchcodec", "triton"}


def test_the_wheel_carries_all_packages_and_manifests(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert f"adapterworks-{__version__}" in wheel.name
    for expected in (
        "adapterworks/cli/main.py",
        "manifests/medical.toml",
        "manifests/enterprise-kb.toml",
        "manifests/code.toml",
        "registry/bases.py",
        "builders/__init__.py",
        "gateway/__init__.py",
    ):
        assert expected in names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]
