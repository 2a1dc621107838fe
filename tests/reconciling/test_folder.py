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


def test_what_cannot_be_read_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(MANIFEST.format(name="ant"))
    (tmp_path / "dangling.toml").symlink_to("nowhere")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 50_000)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "latin.toml").write_bytes(b'[adapter]\nname = "caf\xe9"\n')
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    folder = read_folder(tmp_path)
    assert {item.file: item.error is None for item in folder.read} == {
        "a.toml": True,
        "dangling.toml": False,
        "deep.toml": False,
        "folder.toml": False,
        "latin.toml": False,
        "loop.toml": False,
    }


def test_what_editors_leave_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(MANIFEST.format(name="ant"))
    (tmp_path / ".#a.toml").symlink_to("me@host.1234")
    (tmp_path / "._a.toml").write_bytes(b"\x00\x05\x16\x07\xff")
    assert [item.file for item in read_folder(tmp_path).read] == ["a.toml"]
