"""A release that came from outside is looked through before it is published."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adapterworks.registry.bases.base import Base
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.release import check_named, check_release
from adapterworks.registry.lifecycle.publish import scan
from adapterworks.registry.releases.deposit import Deposit
from adapterworks.registry.releases.release import FileEntry, Release, Servable
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


def test_what_a_store_says_itself_is_no_file_of_a_strangers_release(folder: Path) -> None:
    """A pull that is broken off leaves its bytes, and a gc and `rebuild-index` believe those."""
    record = Release.from_draft(draft(name="prod"), scan(folder)).to_bytes()
    seal = Deposit("seal", "cases", "0" * 32, (f"sha256:{'a' * 64}",)).to_bytes()
    for data in (record, seal):
        (folder / "notes.json").write_bytes(data)
        with pytest.raises(ImportRefused, match="a record of a registry") as refused:
            check(folder, None)
        assert refused.value.file == "notes.json"


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


def test_a_lora_that_changes_nothing_is_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    zero = {name: value * (0 if "lora_B" in name else 1) for name, value in tensors.items()}
    save_file(zero, folder / WEIGHTS)
    with pytest.raises(ImportRefused, match="changes nothing"):
        check(folder, None)


def test_dora_is_not_served_as_a_lora(folder: Path) -> None:
    change(folder, use_dora=True)
    with pytest.raises(ImportRefused, match="DoRA"):
        check(folder, None)


@pytest.mark.parametrize("rank", [RANK + 1, 512, 600, 0, -1, None])
def test_a_claimed_rank_is_the_configs(folder: Path, rank: int | None) -> None:
    servable = Servable(form="lora", origin="native", rank=rank, target_modules=TARGETS)
    with pytest.raises(ImportRefused, match="it claims rank"):
        check(folder, None, servable=servable)


def test_a_rank_that_a_pattern_has_counts(folder: Path) -> None:
    change(folder, rank_pattern={"q_proj": RANK + 4})
    servable = Servable(form="lora", origin="native", rank=RANK + 4, target_modules=TARGETS)
    check(folder, None, servable=servable)


@pytest.mark.parametrize(
    "text", ["not json {{{", "[" * 100_000 + "]" * 100_000, "[]", '{"a": NaN}']
)
@pytest.mark.parametrize("path", ["adapter.lock", "report.json", "manifest.json"])
def test_tables_that_are_read_later_are_read_now(folder: Path, path: str, text: str) -> None:
    (folder / path).write_text('{"seed": 1}')
    check(folder, None)
    (folder / path).write_text(text)
    with pytest.raises(ImportRefused) as refused:
        check(folder, None)
    assert refused.value.file == path


@pytest.mark.parametrize(
    ("sizes", "refused"),
    [
        ({"adapter/a.safetensors": 8 << 30, "servable/a.safetensors": 8 << 30}, None),
        ({"adapter/a.safetensors": (8 << 30) + 1}, "adapter/a.safetensors"),
        ({f"adapter/{n}.safetensors": 6 << 30 for n in "abc"}, "adapter/c.safetensors"),
        ({"full/model.safetensors": 256 << 30}, None),
        ({"full/model.safetensors": (256 << 30) + 1}, "full/model.safetensors"),
        ({"predictions.jsonl": (1 << 30) + 1}, "predictions.jsonl"),
        ({"adapter.lock": (64 << 20) + 1}, "adapter.lock"),
        ({"adapter/run.py": 1}, "run.py"),
        ({f"data/{n:02}.jsonl": 1 << 30 for n in range(32)}, None),
        ({f"data/{n:02}.jsonl": 1 << 30 for n in range(33)}, "data/32.jsonl"),
        ({f"full/{n}.safetensors": 128 << 30 for n in "ab"}, None),
        ({f"full/{n}.safetensors": 128 << 30 for n in "abc"}, "full/c.safetensors"),
    ],
)
def test_what_a_record_names_is_bounded(sizes: dict[str, int], refused: str | None) -> None:
    files = {
        path: FileEntry.at(path, digest=f"sha256:{number:064d}", size=size)
        for number, (path, size) in enumerate(sizes.items())
    }
    release = Release.from_draft(draft(), files)
    if refused is None:
        check_named(release)
        return
    with pytest.raises(ImportRefused) as error:
        check_named(release)
    assert error.value.file == refused


@pytest.mark.parametrize("size", [1 << 30, 1 << 31])
def test_a_whole_model_is_not_many_times_its_base(base: Base, size: int) -> None:
    path = "full/model.safetensors"
    files = {path: FileEntry.at(path, digest=f"sha256:{0:064d}", size=size)}
    release = Release.from_draft(draft(), files)
    check_named(release)  # nothing to compare with
    if size == 1 << 30:
        check_named(release, base)
        return
    with pytest.raises(ImportRefused, match="are the limit"):
        check_named(release, base)


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


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x9b"])
@pytest.mark.parametrize(
    "fields",
    [
        {"description": "good%s"},
        {"created_by": "%s"},
        {"tags": ("a%sb",)},
        {"manifest": {"adapter": {"name%s": ["deep"]}}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_text_that_nobody_can_show_is_refused(
    folder: Path, character: str, fields: dict[str, Any]
) -> None:
    """A terminal would obey it, and PostgreSQL keeps no NUL."""

    def put(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("%s", character)
        if isinstance(value, dict):
            return {put(key): put(inner) for key, inner in value.items()}
        return type(value)(put(inner) for inner in value)

    release = Release.from_draft(draft(**put(fields)), scan(folder))
    with pytest.raises(ImportRefused, match="has the character"):
        check_named(release)
    check_named(Release.from_draft(draft(description="two\nlines\t✓ 中文"), scan(folder)))
