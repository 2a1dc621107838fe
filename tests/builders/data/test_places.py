"""Where a release's files are on this machine: found by digest, refused by digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.places import located, remember
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import portable
from tests.builders.build_support import manifest_for

ROWS, WORDS, LAUNCH = b'{"text": "rows"}\n', b"a,b\n", b"num_processes: 1\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "rows.jsonl").write_bytes(ROWS)
    (folder / "words.csv").write_bytes(WORDS)
    (folder / "accelerate.yaml").write_bytes(LAUNCH)
    return folder


@pytest.fixture
def manifest(project: Path) -> Manifest:
    values = json.loads(manifest_for("lora").model_dump_json())
    values["data"] |= {
        "train": "data/rows.jsonl",
        "test": "icd-10-cm:test",
        "augment": {"lexicon": "words.csv", "share": 0.1},
    }
    values["train"]["accelerate_config"] = "accelerate.yaml"
    return Manifest.model_validate_json(json.dumps(values)).placed_in(project)


SOURCES: list[dict[str, Any]] = [
    {"source": "data/rows.jsonl", "files": {"rows.jsonl": digest_bytes(ROWS)}},
    {"source": "icd-10-cm:test", "files": {"icd.py": "sha256:1"}},
]
FILES = {
    "data.augment.lexicon": digest_bytes(WORDS),
    "train.accelerate_config": digest_bytes(LAUNCH),
}
LOCK = {"data": {"sources": SOURCES, "files": FILES}}


def of_release(manifest: Manifest) -> Manifest:
    """As a release has it: no folder, paths as declared."""
    return Manifest.model_validate_json(portable(manifest).model_dump_json())


def test_a_build_here_is_found_again(manifest: Manifest, project: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    remember(manifest, SOURCES, FILES, cache)
    known = json.loads((cache / "places.json").read_text())
    assert known == {
        digest_bytes(ROWS): str(project / "data" / "rows.jsonl"),
        digest_bytes(WORDS): str(project / "words.csv"),
        digest_bytes(LAUNCH): str(project / "accelerate.yaml"),
    }
    found = located(of_release(manifest), LOCK, what="tiny@1", cache=cache)
    assert found.data.train == str(project / "data" / "rows.jsonl")
    assert found.data.augment.lexicon == str(project / "words.csv")
    assert found.train.accelerate_config == str(project / "accelerate.yaml")
    assert found.data.test == "icd-10-cm:test"
    assert found.base.model == "./tiny", "a base is looked for elsewhere"


def test_other_builds_places_stay_known(manifest: Manifest, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "places.json").write_text(json.dumps({"sha256:other": "/elsewhere"}))
    remember(manifest, SOURCES, FILES, cache)
    known = json.loads((cache / "places.json").read_text())
    assert known["sha256:other"] == "/elsewhere"
    assert len(known) == 4
    assert [path.name for path in cache.iterdir()] == ["places.json"]
    before = (cache / "places.json").stat().st_mtime_ns
    remember(manifest, SOURCES, FILES, cache)
    assert (cache / "places.json").stat().st_mtime_ns == before, "nothing new, nothing written"


def test_a_file_that_moved_here_takes_its_new_place(
    manifest: Manifest, project: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    remember(manifest, SOURCES, FILES, cache)
    project.rename(tmp_path / "moved")
    remember(manifest.placed_in(tmp_path / "moved"), SOURCES, FILES, cache)
    found = located(of_release(manifest), LOCK, what="tiny@1", cache=cache)
    assert found.data.train == str(tmp_path / "moved" / "data" / "rows.jsonl")


def test_a_folder_is_searched_as_declared_and_by_name(
    manifest: Manifest, project: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    found = located(of_release(manifest), LOCK, what="tiny@1", cache=cache, folder=project)
    assert found.data.train == str(project / "data" / "rows.jsonl")
    assert found.folder == project
    flat = tmp_path / "flat"
    flat.mkdir()
    for name, data in (("rows.jsonl", ROWS), ("words.csv", WORDS), ("accelerate.yaml", LAUNCH)):
        (flat / name).write_bytes(data)
    found = located(of_release(manifest), LOCK, what="tiny@1", cache=cache, folder=flat)
    assert found.data.train == str(flat / "rows.jsonl")


def test_a_folder_that_is_named_is_not_passed_over_for_a_known_place(
    manifest: Manifest, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    remember(manifest, SOURCES, FILES, cache)
    with pytest.raises(NotFound, match=r"`tiny@1` was built from `data/rows\.jsonl`, and where"):
        located(of_release(manifest), LOCK, what="tiny@1", cache=cache, folder=tmp_path)


@pytest.mark.parametrize("name", ["data/rows.jsonl", "words.csv", "accelerate.yaml"])
def test_other_bytes_are_refused_whichever_file_they_are_in(
    name: str, manifest: Manifest, project: Path, tmp_path: Path
) -> None:
    """Trained again on other rows it would be another adapter under the old one's name."""
    cache = tmp_path / "cache"
    remember(manifest, SOURCES, FILES, cache)
    (project / name).write_bytes(b"other")
    with pytest.raises(IntegrityError) as caught:
        located(of_release(manifest), LOCK, what="tiny@1", cache=cache)
    assert f"`{Path(name).name}` is not the file that `tiny@1` was built from" in str(caught.value)
    assert digest_bytes(b"other") in caught.value.message


def test_what_is_not_known_is_said(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not known") as caught:
        located(of_release(manifest), LOCK, what="tiny@1", cache=tmp_path / "none")
    assert "--data-dir" in (caught.value.hint or "")


def test_a_release_that_recorded_whole_paths_is_found_at_them(
    manifest: Manifest, project: Path, tmp_path: Path
) -> None:
    """Releases of before have absolute paths; digests are checked all the same."""
    whole = str(project / "data" / "rows.jsonl")
    values = json.loads(manifest_for("lora").model_dump_json())
    values["data"]["train"] = whole
    old = Manifest.model_validate_json(json.dumps(values))
    lock = {"data": {"sources": [{**SOURCES[0], "source": whole}]}}
    assert located(old, lock, what="t@1", cache=tmp_path / "none").data.train == whole
    Path(whole).write_bytes(b"other")
    with pytest.raises(IntegrityError):
        located(old, lock, what="t@1", cache=tmp_path / "none")


def test_what_a_lock_does_not_tell_of_is_taken_as_it_is(
    manifest: Manifest, project: Path, tmp_path: Path
) -> None:
    found = located(of_release(manifest), {}, what="t@1", cache=tmp_path, folder=project)
    assert found.data.train == str(project / "data" / "rows.jsonl")


def test_a_folder_of_rows_is_found_by_the_digest_of_all_its_files(tmp_path: Path) -> None:
    """A folder keeps its `/` wherever its path is told, and one changed file is another source."""
    project, cache = tmp_path / "project", tmp_path / "cache"
    (project / "rows").mkdir(parents=True)
    for name in ("a", "b"):
        (project / "rows" / f"{name}.jsonl").write_text(f'{{"text": "{name}"}}\n')
    values = {
        "adapter": {"name": "folder"},
        "base": {"model": "smollm2-135m-instruct"},
        "method": {"kind": "lora"},
        "data": {"train": "rows/", "test": "rows/*.jsonl", "format": "text"},
        "train": {"loss_on": "all"},
    }
    manifest = Manifest.model_validate_json(json.dumps(values)).placed_in(project)
    sources = [
        load_source(source, "text", folder=project).datasheet.to_json()
        for source in ("rows/", "rows/*.jsonl")
    ]
    lock = {"data": {"sources": sources, "files": {}}}
    remember(manifest, sources, {}, cache)
    found = located(of_release(manifest), lock, what="folder@1", cache=cache)
    assert found.data.train == f"{project}/rows/"
    assert load_source(found.data.train, "text").rows[1].text == "b"
    moved = located(of_release(manifest), lock, what="folder@1", cache=cache, folder=project)
    assert moved.data.test == f"{project}/rows/*.jsonl"
    (project / "rows" / "b.jsonl").write_text('{"text": "c"}\n')
    with pytest.raises(IntegrityError, match="is not the file that `folder@1` was built from"):
        located(of_release(manifest), lock, what="folder@1", cache=cache)
