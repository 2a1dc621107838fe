"""Paths and names in the docs are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from adapterworks.gateway.engines.forms import FORMS

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


def test_the_engines_flag_is_the_one_that_the_gateway_gives() -> None:
    page = (ROOT / "docs" / "explanation" / "engine-plugin.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"--kv-transfer-config '(\{.*?\})'", page)
    (given,) = FORMS["prefix"].engine_flags().values()
    assert json.loads(shown) == json.loads(str(given))
