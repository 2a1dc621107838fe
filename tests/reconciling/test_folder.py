"""Reading a folder: every manifest by itself, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.reconciling.folder import read_folder

MANIFEST = """
[adapter]
name = "{name}"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "rows.jsonl"
[profiles.quick]
train.epochs = 1
"""


def test_each_manifest_is_read_by_itself(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(MANIFEST.format(name="bee"))
    (tmp_path / "a.toml").write_text(MANIFEST.format(name="ant").replace("[data]", "[dta]"))
    (tmp_path / "c.toml").write_text("[adapter")
    (tmp_path / "gateway.toml").write_text("port = 80\n")
    (tmp_path / "within").mkdir()
    (tmp_path / "within" / "d.toml").write_text(MANIFEST.format(name="dog"))
    folder = read_folder(tmp_path)
    assert [(item.file, item.name) for item in folder.read] == [
        ("a.toml", "ant"),
        ("b.toml", "bee"),
        ("c.toml", None),
    ]
    assert [item.error is not None for item in folder.read] == [True, False, True]
    assert folder.skipped == ("gateway.toml",)
    assert folder.name == tmp_path.name


def test_a_profile_is_laid_over_every_one(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(MANIFEST.format(name="ant"))
    (tmp_path / "b.toml").write_text(MANIFEST.format(name="bee").partition("[profiles")[0])
    with_it, without = read_folder(tmp_path, profile="quick").read
    assert with_it.manifest is not None
    assert with_it.manifest.train.epochs == 1
    assert "there is no profile `quick`" in str(without.error)


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no manifest in"):
        read_folder(tmp_path)
    with pytest.raises(NotFound, match="no folder"):
        read_folder(tmp_path / "none")
