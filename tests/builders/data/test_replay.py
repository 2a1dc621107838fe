"""Rows that are replayed: none was ever a test row; those of ancestors are what each has learnt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data import assemble as assembling
from adapterworks.builders.data import gather as gathering
from adapterworks.builders.data.adding import About, add_dataset
from adapterworks.builders.data.ancestry import Known, learnt_by_lineage
from adapterworks.builders.data.assemble import assemble, rows_of_build
from adapterworks.builders.data.erasing import erase_rows, look_for_rows
from adapterworks.builders.data.exporting import lines_of
from adapterworks.builders.data.gates.as_of import AsOf
from adapterworks.builders.data.gates.seals import make_seal
from adapterworks.builders.data.load import Splits
from adapterworks.builders.data.rows import Row, chat, rows_digest
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import Manifest
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent, Provenance
from adapterworks.registry.releases.types import now
from tests.registry.releases import publish

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "flint",
    "grove",
    "heath",
    "inlet",
    "jetty",
    "knoll",
    "larch",
]


def rows(kind: str, *numbers: int) -> list[Row]:
    """Questions that have nothing in common but their kind."""
    return [
        chat(f"{kind} {WORDS[n % 12]} {n} {WORDS[n // 12 % 12]} {kind}{n} {n * 7919}", f"{kind}{n}")
        for n in numbers
    ]


class Line:
    """A registry whose releases of `tiny` are published without a training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry.open(
            database=f"sqlite:///{folder / 'index.db'}",
            blobs=str(folder / "blobs"),
            home=folder / "home",
        )
        self.built = 0

    def dataset(self, name: str, **splits: list[Row]) -> None:
        add_dataset(self.registry, name, splits, About(), who="me")  # type: ignore[arg-type]

    def manifest(self, start: str | None = None, **data: Any) -> Manifest:
        values = {
            "adapter": {"name": "tiny"},
            "base": {"model": "smollm2"},
            "method": {"kind": "lora"},
            "data": {"validation_share": 1e-9, **data},
            **({} if start is None else {"start": {"from": start}}),
        }
        return Manifest.model_validate_json(json.dumps(values))

    def continued(self, number: int, **data: Any) -> Manifest:
        """Goes on from a version, with all that was learnt replayed as often as there is room."""
        replay = {"source": "lineage", "share": 1.0}
        return self.manifest(f"tiny@{number}", replay=replay, **data)

    def build(self, manifest: Manifest) -> Splits:
        """What a build does with rows: judge, publish what they were, seal what was tested."""
        created = now()
        splits = assemble(manifest, registry=self.registry).splits
        return self.publish(manifest, splits, created)

    def publish(self, manifest: Manifest, splits: Splits, created: str) -> Splits:
        """Seal what was tested, and list what was learnt."""
        if splits.test:
            seal = make_seal(splits.test)
            Datasets(self.registry).seal(seal, f"tiny, plan {self.built}")
        self.built += 1
        parents = []
        if manifest.start is not None:
            begun = self.registry.resolve(manifest.start.ref)
            parents.append(Parent(relation="start", digest=begun.digest, ref=str(begun)))
        publish(
            self.registry, self.folder, self.built, name="tiny", created=created,
            manifest=manifest.model_dump(mode="json"), parents=tuple(parents),
            provenance=Provenance(data={"train": rows_digest(splits.train)}),
        )  # fmt: skip
        return splits


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    made.registry.close()


def answers(splits: Splits) -> set[str]:
    return {row.answer for row in splits.train}


def test_general_rows_that_were_ever_test_rows_are_not_replayed(line: Line, tmp_path: Path) -> None:
    line.dataset("free", train=rows("a", *range(20)))
    line.dataset("exam", test=rows("b", 1, 2))
    path = tmp_path / "general.jsonl"
    path.write_text(lines_of([*rows("c", 1, 2), *rows("b", 2)]))
    for source, count in (("dataset:exam@1#test", 2), (str(path), 1)):
        data = {"train": "dataset:free@1", "replay": {"source": source, "share": 1.0}}
        with pytest.raises(Refused, match=f"{count} rows of `data.replay` were ever test rows"):
            assemble(line.manifest(**data), registry=line.registry)
        gates = {"sealed": {"action": "drop"}}
        dropped = assemble(line.manifest(**data, gates=gates), registry=line.registry).splits
        assert not {"b1", "b2"} & answers(dropped)
        assert dropped.datasheets[-1].counts["were ever test rows"] == count


def test_a_builds_own_test_rows_are_not_replayed(line: Line, tmp_path: Path) -> None:
    line.dataset("free", train=rows("a", *range(20)))
    general, test = tmp_path / "general.jsonl", tmp_path / "test.jsonl"
    general.write_text(lines_of(rows("c", *range(9))))
    test.write_text(lines_of(rows("c", 3)))
    replay = {"source": str(general), "share": 1.0}
    data = {"train": "dataset:free@1", "test": str(test), "replay": replay}
    splits = assemble(line.manifest(**data), registry=line.registry).splits
    assert {a for a in answers(splits) if a[0] == "c"} == {f"c{n}" for n in range(9)} - {"c3"}


def test_a_lineage_goes_on_whatever_was_tested_and_sealed(line: Line, tmp_path: Path) -> None:
    for number, kind in enumerate("abc", start=1):
        line.dataset(f"r{number}", train=rows(kind, *range(8 if kind != "c" else 16)))
    test = tmp_path / "test.jsonl"
    test.write_text(lines_of(rows("a", 3)))
    line.build(line.manifest(train="dataset:r1@1"))
    second = line.build(line.continued(1, train="dataset:r2@1", test=str(test)))
    assert answers(second) == {f"{k}{n}" for k in "ab" for n in range(8)} - {"a3"}
    third = line.build(line.continued(2, train="dataset:r3@1"))  # a3 is sealed now
    assert {a for a in answers(third) if a[0] != "c"} == answers(second)
    line.dataset("later", test=rows("b", 5))  # and b5, which two of them have replayed
    line.dataset("r4", train=rows("d", *range(32)))
    fourth = line.build(line.continued(3, train="dataset:r4@1"))
    assert {a for a in answers(fourth) if a[0] != "d"} == answers(third) - {"b5"}


def test_what_an_earlier_version_replayed_of_its_test_rows_is_known(
    line: Line, tmp_path: Path
) -> None:
    """Before replayed rows were held against a build's own test rows."""
    line.dataset("r1", train=rows("a", *range(8)))
    line.dataset("r2", train=rows("b", *range(8)))
    test = tmp_path / "test.jsonl"
    test.write_text(lines_of(rows("a", 3)))
    line.build(line.manifest(train="dataset:r1@1"))
    wanted = line.continued(1, train="dataset:r2@1", test=str(test))
    second = rows_of_build(wanted, registry=line.registry, as_of=AsOf(own=False))
    assert "a3" in answers(second)
    line.publish(wanted, second, now())
    line.dataset("r3", train=rows("c", *range(16)))
    third = line.build(line.continued(2, train="dataset:r3@1"))
    assert {a for a in answers(third) if a[0] == "a"} == {f"a{n}" for n in range(8)} - {"a3"}


def test_rows_that_a_gate_dropped_are_known_by_the_seals_of_then(line: Line) -> None:
    line.dataset("r1", train=rows("a", *range(8)))
    line.dataset("r2", train=rows("b", *range(8)))
    line.dataset("exam", test=rows("a", 1))
    gates = {"sealed": {"action": "drop"}}
    line.build(line.manifest(train="dataset:r1@1", gates=gates))
    line.dataset("later", test=rows("a", 2))
    found = line.build(line.continued(1, train="dataset:r2@1"))
    assert {a for a in answers(found) if a[0] == "a"} == {f"a{n}" for n in range(8)} - {"a1", "a2"}


def test_a_test_of_what_an_ancestor_learnt_is_told(line: Line, tmp_path: Path) -> None:
    line.dataset("r1", train=rows("a", *range(8)))
    line.dataset("r2", train=rows("b", *range(8)))
    line.build(line.manifest(train="dataset:r1@1"))
    test = tmp_path / "test.jsonl"
    test.write_text(lines_of([*rows("x", 1), *rows("a", 4)]))
    data = {"train": "dataset:r2@1", "test": str(test)}
    assembled = assemble(line.manifest("tiny@1", **data), registry=line.registry)
    (report,) = (r for r in assembled.gates.reports if r.name == "contamination")
    assert [(found.split, found.row) for found in report.rows] == [("test", 2)]
    assert report.rows[0].reason == "100% of its question is in a row that an ancestor learnt"
    assert report.measured == 0.5
    gates = {"contamination": {"action": "fail"}}
    with pytest.raises(Refused, match="that an ancestor learnt"):
        assemble(line.manifest("tiny@1", **data, gates=gates), registry=line.registry)
    # Where it cannot be derived it is not looked at, and that is said.
    publish(line.registry, tmp_path, 9, name="imported")
    blind = assemble(line.manifest("imported@1", **data), registry=line.registry)
    (note,) = blind.notes
    assert note.startswith(
        "the test rows are not held against what was learnt before: `imported@1`"
    )


def test_each_ancestor_is_derived_once(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = 7
    for number in range(1, depth + 1):
        line.dataset(f"r{number}", train=rows("a", *range(8 * number, 8 * number + 8)))
    line.build(line.manifest(train="dataset:r1@1"))
    for number in range(2, depth + 1):
        line.build(line.continued(number - 1, train=f"dataset:r{number}@1"))
    read: list[str] = []

    def gather(manifest: Manifest, **options: Any) -> Splits:
        read.append(manifest.data.train)
        return before(manifest, **options)

    before = gathering.gather
    monkeypatch.setattr(assembling, "gather", gather)

    def derive(manifest: Manifest, as_of: AsOf, known: Known) -> Splits:
        return rows_of_build(manifest, registry=line.registry, as_of=as_of, known=known)

    found = learnt_by_lineage(line.registry, f"tiny@{depth}", derive, cache=None)
    assert len(found.rows) == 8 * depth
    assert read == [f"dataset:r{number}@1" for number in range(1, depth + 1)]


def test_what_was_erased_since_is_learnt_by_nobody_again(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text(lines_of(rows("a", *range(8))))
    line.build(line.manifest(train=str(path)))
    line.dataset("copy", train=rows("a", *range(8)))
    dataset = Datasets(line.registry).get("copy")
    gone = look_for_rows(line.registry, dataset, [("train", 4)])
    erase_rows(line.registry, gone, who="me", why="withdrew")
    line.dataset("r2", train=rows("b", *range(16)))
    second = line.build(line.continued(1, train="dataset:r2@1"))
    assert {a for a in answers(second) if a[0] == "a"} == {f"a{n}" for n in range(8)} - {"a3"}
    assert second.datasheets[-1].counts["erased since"] == 1
