"""The project as a whole: versions agree, the wheel is complete."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from adapterworks import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_version_is_the_changelogs_newest_release() -> None:
    newest = re.search(
        r"^## (?!Unreleased)(\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest is not None
    assert newest[1] == __version__


def test_the_wheel_has_one_top_level_name_and_every_module_in_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert f"adapterworks-{__version__}" in wheel.name
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"adapterworks", f"adapterworks-{__version__}.dist-info"}
    assert {name for name in names if name.endswith((".py", ".toml", ".typed"))} == _sources()


def _sources() -> set[str]:
    """The files of the package as the wheel should have them."""
    found = {"adapterworks/py.typed"}
    for package in ("adapterworks", "builders", "gateway", "manifests", "registry"):
        top = "" if package == "adapterworks" else "adapterworks/"
        for suffix in ("py", "toml"):
            paths = (ROOT / package).rglob(f"*.{suffix}")
            found |= {top + path.relative_to(ROOT).as_posix() for path in paths}
    return found
