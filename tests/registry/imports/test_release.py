"""A release that came from outside is looked through before it is published."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adapterworks.registry.bases.store import Base
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.release import check_release
from adapterworks.registry.lifecycle.publish import scan
from adapterworks.registry.releases.release import Release, Servable
from tests.registry.imports.hostile.good import (
    RANK,
    TARGETS,
    good_tensors,
    write_adapter,
    write_base,
)
from tests.registry.releases import draft

WEIGHTS = "servable/adapter_model.safetensors"
CONFIG = "servable/adapter_config.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    checkpoint = write_base(tmp_path_factory.mktemp("base") / "tiny")
    return cast(Base, SimpleNamespace(checkpoint=checkpoint))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release's files: a good LoRA for the base, and a card."""
    write_adapter(tmp_path / "release" / "servable")
    (tmp_path / "release" / "README.md").write_text("# medical\n")
    return tmp_path / "release"


def check(folder: Path, base: Base | None, absent: tuple[str, ...] = (), **fields: Any) -> None:
    servable = Servable(form="lora", origin="native", rank=RANK, target_modules=TARGETS)
    release = Release.from_draft(draft(**{"servable": servable, **fields}), scan(folder))
    check_release(folder, release, base, absent)


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **values}))


def test_a_good_one_passes_with_its_base_and_without(folder: Path, base: Base) -> None:
    check(folder, base)
    check(folder, None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_refused(folder: Path, value: float) -> None:
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values()))[1, 1] = value
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ImportRefused, match="NaN or infinity") as refused:
        check(folder, None)
    assert refused.value.file == WEIGHTS


def test_a_lora_of_another_base_is_refused_where_its_base_is_here(folder: Path, base: Base) -> None:
    tensors = good_tensors()
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = np.ones((RANK, tensors[name].shape[1] + 1), np.float32)
    save_file(tensors, folder / WEIGHTS)
    check(folder, None)  # nothing to compare with
    with pytest.raises(ImportRefused):
        check(folder, base)


def test_what_is_no_lora_is_not_compared_with_the_base(folder: Path, base: Base) -> None:
    (folder / WEIGHTS).unlink()
    check(folder, base, servable=None)
    with pytest.raises(ImportRefused, match="it is missing"):
        check(folder, base)


def test_files_that_no_release_has_are_refused(folder: Path) -> None:
    (folder / "servable" / "state.bin").write_bytes(b"x")
    with pytest.raises(ImportRefused):
        check(folder, None)
    (folder / "servable" / "state.bin").rename(folder / "servable" / "notes.xyz")
    with pytest.raises(ImportRefused, match="no such kind of file") as refused:
        check(folder, None)
    assert refused.value.file == "servable/notes.xyz"


@pytest.mark.parametrize("key", ["auto_map", "auto_mapping"])
def test_a_config_that_names_code_is_refused(folder: Path, key: str) -> None:
    change(folder, peft_type="PREFIX_TUNING", **{key: {"a": "b.py:C"}})
    with pytest.raises(ImportRefused):
        check(folder, None, servable=None)


def test_a_config_of_lora_is_read_as_strictly_as_an_imports(folder: Path) -> None:
    change(folder, r=-1)
    with pytest.raises(ImportRefused):
        check(folder, None, servable=None)


def test_a_config_that_is_too_large_or_no_table_is_refused(folder: Path) -> None:
    (folder / CONFIG).write_text("[1]")
    with pytest.raises(ImportRefused, match="not a table"):
        check(folder, None, servable=None)
    (folder / CONFIG).write_text(" " * (2 << 20) + "{}")
    with pytest.raises(ImportRefused, match="more than"):
        check(folder, None, servable=None)


def test_of_a_file_that_did_not_come_only_the_name_is_checked(folder: Path) -> None:
    data = folder / "extra.safetensors"
    data.write_bytes(b"not a tensor")
    with pytest.raises(ImportRefused):
        check(folder, None)
    check(folder, None, absent=("extra.safetensors",))
