"""Lineage: stages, merges and starts as records say, as far back as this registry knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent, Provenance, Stage
from tests.registry.releases import draft, folder

ROWS = f"sha256:{'5' * 64}"


def made(registry: Registry, path: Path, number: int, **fields: Any) -> str:
    files = folder(path / f"{number}", number)
    return registry.publish(files, draft(number, **fields), who="ann").digest


def test_every_parent_is_named_with_its_relation_and_its_child(
    registry: Registry, tmp_path: Path
) -> None:
    start = made(registry, tmp_path, 1)
    sft = made(
        registry,
        tmp_path,
        2,
        parents=(Parent(relation="start", digest=start),),
        stage=Stage(name="sft", index=0, count=2),
    )
    dpo = made(
        registry,
        tmp_path,
        3,
        parents=(
            Parent(relation="stage", digest=sft),
            Parent(relation="reference", digest=start),
        ),
        stage=Stage(name="dpo", index=1, count=2),
    )
    stranger = f"sha256:{'d' * 64}"
    made(
        registry,
        tmp_path,
        4,
        name="both",
        parents=(
            Parent(relation="merge", digest=dpo, ref="medical@3", weight=0.75),
            Parent(relation="merge", digest=stranger, ref="theirs@9", weight=0.25),
        ),
    )
    found = registry.origins.lineage("both@1")
    assert [(p.ref, p.relation, p.child, p.weight, p.here) for p in found.parents] == [
        ("medical@3", "merge", "both@1", 0.75, True),
        ("theirs@9", "merge", "both@1", 0.25, False),
        ("medical@2", "stage", "medical@3", None, True),
        ("medical@1", "reference", "medical@3", None, True),
    ]
    assert registry.origins.lineage("medical@3").stage == Stage(name="dpo", index=1, count=2)
    assert [str(child) for child in registry.origins.releases_from("parent", start)] == [
        "medical@2",
        "medical@3",
    ]


def test_a_deleted_release_still_says_what_it_came_from(registry: Registry, tmp_path: Path) -> None:
    one = made(registry, tmp_path, 1)
    other = made(registry, tmp_path, 2)
    parents = (Parent(relation="merge", digest=one), Parent(relation="merge", digest=other))
    middle = made(registry, tmp_path, 3, parents=parents)
    made(registry, tmp_path, 4, parents=(Parent(relation="start", digest=middle),))
    registry.delete("medical", 3, who="ann")
    registry.upkeep.gc(grace=0)  # its record too
    found = registry.origins.lineage("medical@4").parents
    assert [(p.ref, p.relation, p.deleted) for p in found] == [
        ("medical@3", "start", True),
        ("medical@1", "merge", False),
        ("medical@2", "merge", False),
    ]


def test_a_circle_of_claims_ends(registry: Registry, tmp_path: Path) -> None:
    """Old records name parents by version, so they may name each other."""
    made(registry, tmp_path, 1, parents=(Parent(relation="parent", ref="medical@2"),))
    made(registry, tmp_path, 2, parents=(Parent(relation="parent", ref="medical@1"),))
    assert [p.ref for p in registry.origins.lineage("medical@2").parents] == ["medical@1"]


def test_releases_are_found_by_the_rows_they_were_trained_on(
    registry: Registry, tmp_path: Path
) -> None:
    made(registry, tmp_path, 1, provenance=Provenance(data={"train": ROWS}))
    made(registry, tmp_path, 2, provenance=Provenance(data={"validation": ROWS}), name="other")
    made(registry, tmp_path, 3, provenance=Provenance(data={"train": f"sha256:{'6' * 64}"}))
    made(registry, tmp_path, 4, provenance=Provenance(data={"train": ROWS}))
    registry.delete("medical", 3, who="ann")
    assert [str(found) for found in registry.origins.releases_from("data", ROWS)] == [
        "medical@1",
        "other@1",
    ]


@pytest.mark.parametrize("text", ["not json", "[" * 100_000, "[]"])
def test_a_lock_that_is_no_json_is_a_fault_and_no_trace(
    local_registry: Registry, tmp_path: Path, text: str
) -> None:
    files = folder(tmp_path / "files")
    (files / "adapter.lock").write_text(text)
    local_registry.publish(files, draft(), who="ann")
    with pytest.raises(IntegrityError, match=r"`adapter\.lock` of `medical@1`"):
        local_registry.origins.lineage("medical@1")


@pytest.mark.parametrize("ref", ["medical@99999999999999999999", "medical@²", "medical@", "@1"])
def test_a_parent_that_no_database_can_count_is_named(
    registry: Registry, tmp_path: Path, ref: str
) -> None:
    made(registry, tmp_path, 1, parents=(Parent(relation="parent", ref=ref),))
    (parent,) = registry.origins.lineage("medical@1").parents
    assert (parent.ref, parent.here) == (ref, False)


def test_a_strangers_lock_is_read_as_far_as_it_says_something(
    registry: Registry, tmp_path: Path
) -> None:
    lock = {
        "parents": [
            {"digest": "d", "ref": 5, "weight": float("nan")},
            {"digest": "e", "weight": 1},
            {"ref": "without a digest"},
            {"digest": 7},
            "no table",
            {"digest": "f", "weight": -1e300},
            {"digest": "g", "weight": 1e300},
            {"digest": "h", "weight": 9.9e299},
            {"digest": "i", "ref": "far@3", "weight": 0.5},
        ],
        "data": [1],
        "code": 5,
        "packages": "torch",
        "seed": "x",
    }
    registry.publish(folder(tmp_path / "x", 1, lock=lock), draft(1), who="ann")
    found = registry.origins.lineage("medical@1")
    assert [(parent.ref, parent.weight) for parent in found.parents] == [
        ("d", None), ("e", 1), ("f", None), ("g", None), ("h", 9.9e299), ("far@3", 0.5),
    ]  # fmt: skip
    assert (found.data, found.code, found.packages, found.seed) == ({}, {}, {}, None)
