"""docs/architecture.md draws the tree as it is: each path it names is there, each folder named."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("builders", "gateway", "registry", "manifests")


def test_every_path_it_names_is_there() -> None:
    paths = re.findall(rf"\b(?:{'|'.join(PACKAGES)})/[\w/]+(?:\.\w+|/)", PAGE)
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_folder_of_a_package_is_drawn() -> None:
    for package in PACKAGES:
        drawing = PAGE[PAGE.index(f"\n{package}/ ", PAGE.index("one file for each command")) :]
        drawing = drawing.partition("\n\n")[0]
        folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert [folder for folder in folders if f"{folder}/" not in drawing] == []
