"""What a release attests that it was made of: all that its lock names by digest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from adapterworks.builders.publishing.provenance import make_sbom, make_statement
from adapterworks.registry.releases.release import Parent
from tests.builders.build_support import manifest_for


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


LOCK: dict[str, Any] = {
    "base": {"model": "tiny", "digest": digest("b"), "revision": "main"},
    "data": {
        "splits": {"train": digest("1")},
        "files": {"data.augment.lexicon": digest("2"), "train.reward.chrf": digest("3")},
        "datasets": [{"relation": "dataset", "ref": "dataset:cases@2", "digest": digest("4")}],
    },
    "origins": {"start": digest("5"), "reference": "start", "reward": digest("6")},
    "extensions": [
        {"table": "metrics", "name": "mine.py:score", "digest": digest("7"), "file": "mine.py"},
        {
            "table": "objectives",
            "name": "acme/dpo",
            "digest": digest("8"),
            "distribution": "acme-rl",
            "version": "1.0+cpu",
        },
    ],
    "code": {"version": "1.0", "digest": digest("c")},
    "packages": {"torch": "2.9"},
    "reused": {},
    "device": "cpu",
    "precision": "fp32",
    "micro_batch": 2,
    "seed": 1,
    "python": "3.11",
}
PLAN: Any = SimpleNamespace(
    digest=digest("a"),
    digests=SimpleNamespace(train=digest("d"), to_json=dict),
    manifest=manifest_for("lora"),
    parents=(
        Parent(relation="start", digest=digest("5"), ref="medical@1"),
        Parent(relation="reward", digest=digest("6"), ref="judge@3"),
    ),
)
NAMES = {
    "release:start": ("5", "medical@1"),
    "release:reward": ("6", "judge@3"),
    "dataset:cases@2": ("4", "dataset:cases@2"),
    "file:data.augment.lexicon": ("2", None),
    "file:train.reward.chrf": ("3", None),
    "metrics:mine.py:score": ("7", "mine.py"),
    "objectives:acme/dpo": ("8", "pkg:pypi/acme-rl@1.0%2Bcpu"),
}


def test_releases_files_and_code_that_it_was_made_of_are_dependencies(tmp_path: Path) -> None:
    statement = make_statement(tmp_path, PLAN, LOCK, "2026-01-01T00:00:00Z")
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    told = {item["name"]: item for item in found if "digest" in item}
    assert {*told} == {"base", "rows:train", "code", *NAMES}
    for name, (letter, uri) in NAMES.items():
        assert told[name]["digest"] == {"sha256": letter * 64}, name
        assert told[name].get("uri") == uri, name


def test_the_bill_of_materials_has_them_too() -> None:
    bill = make_sbom(PLAN, LOCK, "2026-01-01T00:00:00Z")
    parts = {part["bom-ref"]: part for part in bill["components"]}
    assert NAMES.keys() <= parts.keys()
    for name, (letter, _) in NAMES.items():
        assert parts[name]["hashes"] == [{"alg": "SHA-256", "content": letter * 64}], name
    assert parts["release:reward"]["type"] == "machine-learning-model"
    assert parts["dataset:cases@2"]["type"] == "data"
    assert bill["dependencies"][0]["dependsOn"] == [*parts]
