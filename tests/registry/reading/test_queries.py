"""Diff, lineage and search say what the records and locks say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.registry.reading.diff import Change
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Provenance, parent_of
from tests.registry.releases import draft, folder, publish


def lock(data: str, torch: str = "2.13.0") -> dict[str, Any]:
    return {
        "data": {"splits": {"train": f"sha256:{data * 64}"}, "sources": []},
        "code": {"version": "0.1", "digest": "sha256:c"},
        "packages": {"torch": torch, "peft": "0.21.2"},
        "seed": 42,
    }


def publish_locked(registry: Registry, path: Path, number: int, **fields: Any) -> str:
    files = folder(path / f"{number}", number, lock=lock(str(number), torch=f"2.1{number}"))
    fields.setdefault("manifest", {"train": {"epochs": number, "seed": 42}, "tags": ["a"]})
    return registry.publish(files, draft(number, **fields), who="ann").digest


def test_diff_shows_manifest_data_packages_metrics_files_and_size(
    local_registry: Registry, tmp_path: Path
) -> None:
    publish_locked(local_registry, tmp_path, 1)
    publish_locked(local_registry, tmp_path, 2, tags=("icd",))
    found = local_registry.diff("medical@1", "medical@2")
    assert (found.before.version, found.after.version) == (1, 2)
    assert found.manifest == (Change("train.epochs", 1, 2),)
    assert found.data == (Change("splits.train", f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"),)
    assert found.lock == (Change("packages.torch", "2.11", "2.12"),)
    assert found.metrics == (Change("exact_match", 0.001, 0.002),)
    assert (
        found.release
        == (
            Change("tags.0", "icd", "icd"),
            Change("tags.1", "coding", None),
        )[1:]
    )
    assert [change.key for change in found.files] == [
        "adapter.lock",
        "adapter/adapter_model.safetensors",
        "servable/adapter_model.safetensors",
    ]
    sizes = [row.size for row in reversed(local_registry.versions("medical"))]
    assert list(found.size) == sizes
    assert not found.same


def test_a_release_does_not_differ_from_itself(local_registry: Registry, tmp_path: Path) -> None:
    publish(local_registry, tmp_path, alias="prod")
    found = local_registry.diff("medical", "medical@1")
    assert found.same
    assert not any((found.manifest, found.data, found.lock, found.metrics, found.files))


def test_lineage_names_base_data_code_packages_and_all_parents(
    registry: Registry, tmp_path: Path
) -> None:
    first = publish_locked(registry, tmp_path, 1)
    second = publish_locked(registry, tmp_path, 2, parents=(parent_of("start", first),))
    publish_locked(
        registry, tmp_path, 3, parents=(parent_of("start", "medical@2"),), plan=f"sha256:{'9' * 64}"
    )
    registry.delete("medical", 1, who="ann")
    found = registry.origins.lineage("medical@3")
    assert [(item.ref, item.digest, item.deleted) for item in found.parents] == [
        ("medical@2", second, False),
        ("medical@1", first, True),
    ]
    assert found.base.model == "smollm2-135m-instruct"
    assert found.data["splits"] == {"train": f"sha256:{'3' * 64}"}
    assert found.packages["torch"] == "2.13"
    assert found.code["version"] == "0.1"
    assert (found.seed, found.plan) == (42, f"sha256:{'9' * 64}")


def test_lineage_of_an_import_without_a_lock(local_registry: Registry, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "README.md").write_text("x")
    local_registry.publish(
        files, draft(1, provenance=Provenance(source="hub:org/name@abc")), who="ann"
    )
    found = local_registry.origins.lineage("medical@1")
    assert (found.source, found.data, found.parents) == ("hub:org/name@abc", {}, ())


@pytest.fixture
def shelf(registry: Registry, tmp_path: Path) -> Registry:
    publish(registry, tmp_path, 1)
    publish(registry, tmp_path, 2, tags=("icd_10",), method="qlora")
    publish(registry, tmp_path, 3, name="code", description="Lint 100% fixes", tags=("ruff",))
    return registry


@pytest.mark.parametrize(
    ("text", "filters", "expected"),
    [
        ("", {}, ["code@1", "medical@2", "medical@1"]),
        ("ICD terms", {}, ["medical@2", "medical@1"]),
        ("lint", {}, ["code@1"]),
        ("100%", {}, ["code@1"]),
        ("icd_10", {}, ["medical@2"]),
        ("nothing like it", {}, []),
        ("", {"tag": "icd"}, ["medical@1"]),
        ("", {"method": "qlora"}, ["medical@2"]),
        ("", {"base": "smollm2-135m-instruct", "tag": "ruff"}, ["code@1"]),
        ("", {"base": f"sha256:{'b' * 64}", "method": "lora"}, ["code@1", "medical@1"]),
        ("'; DROP TABLE versions; --", {}, []),
    ],
)
def test_search(shelf: Registry, text: str, filters: dict[str, str], expected: list[str]) -> None:
    found = shelf.search(text, **filters)  # type: ignore[arg-type]
    assert [f"{row.name}@{row.version}" for row in found] == expected


def test_search_comes_in_pages_and_leaves_deleted_versions_out(shelf: Registry) -> None:
    shelf.delete("medical", 2, who="ann")
    assert [row.name for row in shelf.search(limit=1)] == ["code"]
    assert [row.version for row in shelf.search(limit=5, offset=1)] == [1]
