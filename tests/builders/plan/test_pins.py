"""What others' code a plan is pinned to, and what it and the semantics' numbers move."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.plan.decisions import leaves
from adapterworks.builders.plan.digests import Inputs, stage_digests, training_packages
from adapterworks.builders.plan.pins import Pin, pins
from adapterworks.manifests import entry_points
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.load import load_manifest
from tests.builders.build_support import identity, manifest_for
from tests.distribution import write_distribution

SOURCE = """\
from adapterworks.builders.evaluation.metrics.metric import mean_metric

LETTERS = mean_metric("letters", "…", lambda p, r: [1.0] * len(p), binary=False)
"""
OWN = "def first(answer, reference):\n    return float(answer[:1] == reference[:1])\n"
MANIFEST = """\
[adapter]
name = "pinned"
[base]
model = "b"
[method]
kind = "lora"
[data]
train = "rows.jsonl"
test = "rows.jsonl"
[evaluate]
metrics = ["exact_match", "letters", "./own.py:first"]
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    points = {"metrics": {"letters": "acme_pinned:LETTERS"}}
    files = {"acme_pinned.py": SOURCE}
    site = write_distribution(tmp_path / "site", "acme-pinned", "1.2", points, files)
    monkeypatch.syspath_prepend(site)
    entry_points.forget()
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "m.toml").write_text(MANIFEST)
    yield tmp_path / "m.toml"
    entry_points.forget()
    sys.modules.pop("acme_pinned", None)


def test_what_does_not_come_with_adapterworks_is_pinned(manifest: Path) -> None:
    """A distribution by name and version, a file by its name alone; what is built in not at all."""
    own, letters = pins(load_manifest(manifest))
    assert letters == Pin("metrics", "letters", digest_bytes(SOURCE.encode()), "acme-pinned", "1.2")
    assert own == Pin("metrics", "./own.py:first", digest_bytes(OWN.encode()), file="own.py")
    assert letters.to_json() == {
        "table": "metrics",
        "name": "letters",
        "digest": digest_bytes(SOURCE.encode()),
        "distribution": "acme-pinned",
        "version": "1.2",
    }
    assert own.to_json().keys() == {"table", "name", "digest", "file"}
    assert str(manifest.parent) not in str(own.to_json())


def inputs(**changes: Any) -> Inputs:
    given = Inputs(
        base=identity("lora"),
        resolved={"steps": 4},
        device="cpu",
        packages={"torch": "2.13.0+cpu", "peft": "1"},
        encoded={"train": "sha256:1"},
        asked="sha256:2",
        files={"train.accelerate_config": "sha256:3", "data.augment.lexicon": "sha256:4"},
        sources="sha256:5",
        metrics={"exact_match": "sha256:6"},
        added={},
    )
    return replace(given, **changes)


def test_the_digests_are_those_that_releases_were_built_with() -> None:
    """Written down: as long as no number of `plan/digests.py` is raised and no key's meaning
    changes, a release that is there is found again by them."""
    digests = stage_digests(manifest_for("lora", seed=7), inputs()).to_json()
    assert {stage: digest[7:19] for stage, digest in digests.items()} == {
        "train": "1d61bdea4ec2",
        "convert": "8b42f3be7bfa",
        "ask": "7ffadfc95062",
        "evaluate": "329c1e8bebed",
        "publish": "cdd4cfe916fb",
    }


STAGES = ("train", "convert", "ask", "evaluate", "publish")


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("methods", "train"),
        ("objectives", "train"),
        ("retention_suites", "ask"),
        ("quality_gates", "evaluate"),
        ("data_gates", "publish"),  # what it leaves of the rows is digested itself
        ("formats", "publish"),
        ("recipes", "publish"),
        ("trackers", "publish"),
    ],
)
def test_added_code_moves_the_first_stage_that_runs_it(kind: Any, first: str) -> None:
    manifest = manifest_for("lora")
    before, after, other = (
        stage_digests(manifest, inputs(added=added)).to_json()
        for added in ({}, {(kind, "x"): "sha256:1"}, {(kind, "x"): "sha256:2"})
    )
    moved = [stage for stage in STAGES if before[stage] != after[stage]]
    assert moved == [*STAGES[STAGES.index(first) :]]
    assert [stage for stage in STAGES if after[stage] != other[stage]] == moved


def test_two_files_are_not_taken_for_each_other() -> None:
    """The training reads its own file; another file's bytes are the publication's."""
    manifest = manifest_for("lora")
    before = stage_digests(manifest, inputs())
    lexicon = stage_digests(manifest, inputs(files={"train.accelerate_config": "sha256:3"}))
    assert lexicon.evaluate == before.evaluate
    assert lexicon.publish != before.publish
    launcher = stage_digests(manifest, inputs(files={"data.augment.lexicon": "sha256:4"}))
    assert launcher.train != before.train


def test_bitsandbytes_counts_where_it_computes() -> None:
    """Local versions (`+cpu`) are the device's, which is covered by its kind."""
    installed = {"torch": "2.13.0+cpu", "bitsandbytes": "0.5", "ruff": "1", "peft": "1"}
    plain = {"torch": "2.13.0", "peft": "1"}
    assert training_packages(manifest_for("lora"), installed) == plain
    with_it = {**plain, "bitsandbytes": "0.5"}
    assert training_packages(manifest_for("qlora"), installed) == with_it
    paged = manifest_for("lora", optimizer="paged-adamw-8bit")
    assert training_packages(paged, installed) == with_it
    assert training_packages(manifest_for("qlora"), plain) == plain


def test_leaves_are_the_keys_that_decisions_are_made_of() -> None:
    values = {
        "method": {"kind": "lora", "rank": 2},
        "evaluate": {"retention": {"on": True}, "metrics": ["a"]},
    }
    assert dict(leaves(values)) == {
        "method": {"kind": "lora", "rank": 2},
        "evaluate.retention.on": True,
        "evaluate.metrics": ["a"],
    }
