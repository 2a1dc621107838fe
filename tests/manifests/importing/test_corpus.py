"""Whole configurations of other programs: no key is dropped, and what is written is valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.importing import axolotl_keys, llama_factory_keys
from adapterworks.manifests.importing.conversion import Draft
from adapterworks.manifests.load import check_manifest
from adapterworks.manifests.toml import to_toml
from tests.manifests.importing.corpus import Case, cases, make_folder

CASES = cases()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("theirs"))


def value_at(manifest: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        manifest = manifest[name]
    return manifest


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_becomes_what_it_says_or_is_refused_by_name(case: Case, folder: Path) -> None:
    done = case.convert(folder)
    assert {note.key for note in done.refused} == set(case.refused)
    assert all(note.why for note in done.refused)
    assert set(case.config) <= {note.key for note in done.notes}
    kept = case.convert(folder, without=True)
    for path, value in case.becomes.items():
        found = value_at(kept.manifest, path)
        assert found == value or str(found) == str(folder / str(value)), path


def test_there_are_forty_and_what_is_written_is_valid(folder: Path, tmp_path: Path) -> None:
    """A branch of the Hub is all that a manifest that was imported has to mend."""
    assert len(CASES) >= 40
    for number, case in enumerate(CASES):
        done = case.convert(folder, without=True)
        if done.refused:  # no rows are left to train on
            assert {note.why for note in done.refused} == {"no data set is named"}
            continue
        done.manifest["base"]["model"] = done.manifest["base"]["model"].replace(
            "@main", "@" + "0" * 40
        )
        place = tmp_path / f"{number}.toml"
        place.write_text(to_toml(done.manifest, {}))
        _, faults = check_manifest(place)
        assert [str(fault) for fault in faults if "revision" not in str(fault)] == [], case.name


def test_no_key_is_said_to_be_decided_elsewhere_that_nobody_reads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all configurations: a key that no code asks for would be dropped in silence."""
    asked: set[str] = set()
    get = Draft.get

    def spying(draft: Draft, key: str, default: Any = None) -> Any:
        asked.add(key)
        return get(draft, key, default)

    monkeypatch.setattr(Draft, "get", spying)
    for program, joint in (
        ("llama-factory", llama_factory_keys.JOINT),
        ("axolotl", axolotl_keys.JOINT),
    ):
        asked.clear()
        for case in CASES:
            if case.program == program:
                case.convert(folder)
        assert sorted(joint - asked) == []
