"""A data set of the Hub is read at its commit or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.sources import read_hub
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.manifests.sources import HubSource

A, B = "a" * 40, "b" * 40
CARD = """---
license: mit
configs:
- config_name: main
  data_files: [{split: train, path: main/train.jsonl}]
- config_name: socratic
  data_files: [{split: train, path: socratic/train.jsonl}]
---
"""


@dataclass
class Hub:
    """What the Hub's client would fetch: snapshots by commit, branches, whether it is there."""

    folder: Path
    branches: dict[str, str]
    there: bool = True

    def dataset_info(self, repo: str, *, revision: str) -> Any:
        if not self.there:
            raise ConnectionError("out of reach")
        return type("Info", (), {"sha": self.branches.get(revision, revision)})()

    def snapshot_download(self, repo: str, *, revision: str, **_: Any) -> str:
        return str(self.folder / revision)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    import datasets
    import huggingface_hub

    hub = Hub(tmp_path / "snapshots", {"main": A})
    for commit in (A, B):
        for name in ("main", "socratic"):
            (hub.folder / commit / name).mkdir(parents=True)
            row = json.dumps({"text": f"{name} of {commit[0]}"}) + "\n"
            (hub.folder / commit / name / "train.jsonl").write_text(row)
        (hub.folder / commit / "README.md").write_text(CARD)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    return hub


def text(source: HubSource, cache: Path | None = None) -> str:
    (record,) = read_hub(source, cache=cache).records
    return str(record.columns["text"])


def test_a_configuration_can_be_named_and_a_branch_is_recorded_as_its_commit(hub: Hub) -> None:
    assert text(HubSource("org/rows", B, "train", "socratic")) == "socratic of b"
    read = read_hub(HubSource("org/rows", "main", "train", "main"))
    assert read.records[0].columns == {"text": "main of a"}
    assert (read.origin, read.license) == (f"hub:org/rows@{A}#main:train", "mit")
    with pytest.raises(InvalidInput, match="Config name is missing") as caught:
        read_hub(HubSource("org/rows", A, "train"))
    assert str(hub.folder) not in caught.value.message
    with pytest.raises(InvalidInput, match=r"cannot be read.*(dev|split)"):
        read_hub(HubSource("org/rows", A, "dev", "main"))


def test_a_folder_of_the_same_name_is_not_read(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "org" / "rows").mkdir(parents=True)
    (tmp_path / "org" / "rows" / "train.jsonl").write_text('{"text": "a folder"}\n')
    assert text(HubSource("org/rows", A, "train", "main")) == "main of a"
    hub.there = False
    with pytest.raises(Unavailable, match="`org/rows` cannot be fetched"):
        read_hub(HubSource("org/rows", A, "train", "main"))


def test_offline_a_commit_that_was_fetched_whole_is_read_and_no_other(
    hub: Hub, tmp_path: Path
) -> None:
    cache, wanted = tmp_path / "notes", HubSource("org/rows", A, "train", "main")
    assert text(wanted, cache) == "main of a"
    hub.there = False
    assert text(wanted, cache) == "main of a"
    with pytest.raises(Unavailable, match=f"cannot be fetched at `{B}`"):
        read_hub(HubSource("org/rows", B, "train", "main"), cache=cache)
    with pytest.raises(Unavailable, match="cannot be fetched at `main`"):  # it may have moved
        read_hub(HubSource("org/rows", "main", "train", "main"), cache=cache)
    (hub.folder / A / "socratic" / "train.jsonl").unlink()
    with pytest.raises(Unavailable):  # not whole any more
        read_hub(wanted, cache=cache)


def test_what_the_hub_gives_for_a_commit_is_that_commit(hub: Hub) -> None:
    hub.branches = {A: B}
    with pytest.raises(Unavailable, match=f"gave commit {B}"):
        read_hub(HubSource("org/rows", A, "train", "main"))
