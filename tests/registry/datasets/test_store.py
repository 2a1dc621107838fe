"""Datasets in the index: numbered, unchangeable, held against gc, on both kinds of database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, IntegrityError, NotFound, Refused
from adapterworks.registry.datasets.erase import erase_blobs
from adapterworks.registry.datasets.listed import Dataset
from adapterworks.registry.datasets.record import DatasetRecord, Part, Split
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.index import log
from adapterworks.registry.registry import Registry
from tests.registry.datasets.seals import seal_of

ROWS = b'{"row":1}\n{"row":2}\n'


def record(
    name: str = "cases", created: str = "2026-01-01T00:00:00Z", **parts: bytes
) -> tuple[DatasetRecord, dict[Split, bytes]]:
    data: dict[Split, bytes] = parts or {"train": ROWS}  # type: ignore[assignment]
    splits = {
        split: Part(digest=digest_bytes(of), size=len(of), rows=of.count(b"\n"), content="c")
        for split, of in data.items()
    }
    return DatasetRecord(name=name, created=created, created_by="me", splits=splits), data


def add(datasets: Datasets, *, seal: bytes | None = None, **parts: bytes) -> Dataset:
    made, data = record(**parts)
    return datasets.add(made, data, seal=seal, seen=datasets.seals(), who="me")[0]


def test_versions_are_numbered_and_the_same_rows_are_listed_once(registry: Registry) -> None:
    datasets = Datasets(registry)
    first = add(datasets)
    made, data = record(created="2026-02-02T00:00:00Z")
    again, new = datasets.add(made, data, seal=None, seen=[], who="you", why="once more")
    assert (str(first), again, new) == ("cases@1", first, False)
    second = add(datasets, train=ROWS, test=b'{"row":3}\n')
    assert [str(found) for found in datasets.list("cases")] == ["cases@2", "cases@1"]
    assert datasets.get("cases") == datasets.get("cases", "2") == second
    assert datasets.get("cases", first.digest) == first == datasets.find(first.digest)
    assert datasets.read(first.record.splits["train"].digest) == ROWS
    with pytest.raises(NotFound, match="no dataset `cases@3`"):
        datasets.get("cases", "3")


def test_a_dataset_and_a_seal_never_change(registry: Registry) -> None:
    found = add(Datasets(registry), seal=seal_of(1), test=ROWS)
    gone = {found.record.splits["test"].digest: ["0" * 16]}
    erase_blobs(registry, gone, rows=["0" * 16], who="me", why="withdrew")
    for statement in (
        "UPDATE erased_rows SET why = 'x'",
        "DELETE FROM erased_rows",
        "UPDATE erased_parts SET marks = 'x'",
        "DELETE FROM erased_parts",
        "UPDATE datasets SET who = 'x'",
        "DELETE FROM datasets",
        "UPDATE seals SET owner = 'x'",
        "DELETE FROM seals",
    ):
        with pytest.raises(DBAPIError, match="append-only"), registry.database.write() as open_:
            open_.execute(sa.text(statement))
    assert [of.owner for of in Datasets(registry).seals()] == ["dataset:cases@1"]


def test_gc_keeps_what_datasets_hold(registry: Registry) -> None:
    datasets = Datasets(registry)
    found = add(datasets, seal=seal_of(1), train=ROWS, test=b'{"row":3}\n')
    registry.upkeep.gc(grace=0)
    registry.upkeep.gc(grace=0)
    for part in found.record.splits.values():
        assert datasets.read(part.digest)
    assert datasets.read(datasets.seals()[0].blob) == seal_of(1)
    assert registry.blobs.exists(found.digest)


def test_what_was_not_listed_is_let_go(registry: Registry) -> None:
    datasets = Datasets(registry)
    datasets.seal(seal_of(2), "somebody")
    made, data = record()
    with pytest.raises(Conflict, match="sealed while"):
        datasets.add(made, data, seal=None, seen=[], who="me")
    assert datasets.list() == []
    registry.upkeep.gc(grace=0)
    assert not registry.blobs.exists(digest_bytes(ROWS))
    assert add(datasets).version == 1


def test_a_test_set_has_one_seal_for_each_that_it_is_of(registry: Registry) -> None:
    datasets = Datasets(registry)
    for owner in ("one", "other", "one"):
        datasets.seal(seal_of(3), owner)
    assert [(of.blob, of.owner) for of in datasets.seals()] == [
        (digest_bytes(seal_of(3)), "one"),
        (digest_bytes(seal_of(3)), "other"),
    ]


def test_bytes_that_are_not_the_records_are_refused(registry: Registry) -> None:
    made, _ = record()
    with pytest.raises(IntegrityError, match="not what its record says"):
        Datasets(registry).add(made, {"train": b"x"}, seal=None, seen=[], who="me")


def test_erased_rows_are_gone_and_do_not_come_back(registry: Registry) -> None:
    datasets = Datasets(registry)
    found = add(datasets)
    blob = found.record.splits["train"].digest
    marks = ["0" * 16, "1" * 16]
    erase_blobs(registry, {blob: marks}, rows=marks[:1], who="me", why="withdrew")
    erase_blobs(registry, {blob: marks}, rows=marks[:1], who="me", why="again")
    assert [(row.mark, row.why) for row in datasets.erased_rows()] == [(marks[0], "withdrew")]
    assert (datasets.erased_part(blob), datasets.erased_part("other")) == (marks, None)
    with registry.database.read() as connection:
        told = log.events(connection, "", kinds=("erase",))
    assert [(event.who, event.why, event.data["blob"]) for event in told] == [
        ("me", "withdrew", blob)
    ]
    assert registry.upkeep.verify().problems == []
    with pytest.raises(Refused, match="withdrew"):
        datasets.read(blob)
    assert not registry.blobs.exists(blob)
    made, data = record(name="copy")
    with pytest.raises(Refused, match="withdrew"):
        datasets.add(made, data, seal=None, seen=[], who="me")
    assert datasets.get("cases") == found


def test_rows_that_are_erased_while_they_are_added_are_not_listed(registry: Registry) -> None:
    datasets = Datasets(registry)
    blob = add(datasets, train=b'{"row":7}\n').record.splits["train"].digest
    erase_blobs(registry, {blob: ["7" * 16]}, rows=["7" * 16], who="me", why="withdrew")
    made, data = record(name="copy")
    with pytest.raises(Conflict, match="a row was erased while"):
        datasets.add(made, data, seal=None, seen=[], marks=frozenset({"7" * 16}), who="me")
    added, new = datasets.add(made, data, seal=None, seen=[], marks=frozenset({"8" * 16}), who="me")
    assert (str(added), new) == ("copy@1", True)


def test_a_record_that_was_changed_in_the_index_is_not_believed(local_registry: Registry) -> None:
    datasets = Datasets(local_registry)
    add(datasets)
    with local_registry.database.write() as connection:
        connection.execute(sa.text("DROP TRIGGER datasets_no_update"))
        connection.execute(sa.text("UPDATE datasets SET record = replace(record, 'me', 'you')"))
    with pytest.raises(IntegrityError, match="damaged"):
        datasets.get("cases")


def test_splits_are_in_one_order(local_registry: Registry) -> None:
    add(Datasets(local_registry), train=ROWS, test=b'{"row":3}\n', validation=b'{"row":4}\n')
    found = Datasets(local_registry).get("cases")
    assert [*found.record.splits] == ["train", "validation", "test"]
    assert found.record.rows == 4
