"""Rows as datasets: added, refused, divided, compared, erased, and named by manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.building.dataset_inputs import dataset_inputs
from adapterworks.builders.data.adding import About, Added, add_dataset
from adapterworks.builders.data.assemble import assemble, rows_of_build
from adapterworks.builders.data.datasets import decode, encode, rows_of
from adapterworks.builders.data.dividing import along, divide, row_diff
from adapterworks.builders.data.erasing import erase_rows, look_for_rows
from adapterworks.builders.data.exporting import lines_of
from adapterworks.builders.data.gates.as_of import AsOf
from adapterworks.builders.data.gates.seals import make_seal
from adapterworks.builders.data.load import load_rows, load_source
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.errors import (
    AdapterworksError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.manifests.load import check_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.registry.datasets.listed import Dataset
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.index import absences
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from adapterworks.registry.remotes.http.registry import RemoteRegistry
from tests.registry.releases import draft, folder


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}",
        blobs=str(tmp_path / "blobs"),
        home=tmp_path / "home",
    ) as opened:
        yield opened


def questions(kind: str, *numbers: int, **meta: Any) -> list[Row]:
    return [
        chat(f"what is the {kind} number {n} of the house with {n} rooms", f"{n}", **meta)
        for n in numbers
    ]


def add(registry: Registry, name: str = "cases", about: About | None = None, **rows: Any) -> Added:
    drop = rows.pop("drop_sealed", False)
    return add_dataset(registry, name, rows, about or About(), drop_sealed=drop, who="me")


def manifest(train: str = "dataset:cases@1", **data: Any) -> Manifest:
    adapter = {"name": "tiny", "tenant": data.pop("tenant", None)}
    values = {
        "adapter": adapter,
        "base": {"model": "smollm2"},
        "method": {"kind": "lora"},
        "data": {"train": train, **data},
    }
    return Manifest.model_validate_json(json.dumps(values))


def test_rows_are_read_back_whole_under_the_manifests_keys(registry: Registry) -> None:
    pair = Row(
        chat("better or worse", "better").messages,
        {"ward": 7},
        others=(({"role": "assistant", "content": "worse"},),),
        scores=(1.0, 0.0),
    )
    add(registry, train=[*questions("a", 1, 2), pair], test=questions("b", 3))
    splits = load_rows(manifest(test="dataset:cases@1", validation_share=0.01), registry=registry)
    train = [*splits.train, *splits.validation]
    assert {row.digest for row in train} == {row.digest for row in [*questions("a", 1, 2), pair]}
    kept = next(row for row in train if row.others)
    assert (kept.scores, kept.meta["ward"], kept.meta["row"]) == ((1.0, 0.0), 7, 3)
    assert [row.answer for row in splits.test] == ["3"]
    sheet = next(s for s in splits.datasheets if s.origin.startswith("dataset:cases@1#train "))
    dataset = Datasets(registry).get("cases")
    assert sheet.origin.endswith(dataset.digest)
    assert sheet.digest == dataset.record.splits["train"].content
    one = load_source("dataset:cases@1#test", "messages", registry=registry).rows
    assert [row.answer for row in one] == ["3"]


def test_what_a_source_names_and_is_not_there(registry: Registry) -> None:
    add(registry, train=questions("a", 1))
    for source, error, words in (
        ("dataset:cases@2", NotFound, "no dataset `cases@2`"),
        ("dataset:cases@1#test", InvalidInput, "has no test rows"),
    ):
        with pytest.raises(error, match=words):
            load_source(source, "messages", registry=registry)
    with pytest.raises(InvalidInput, match="none was given"):
        load_source("dataset:cases@1", "messages")


def test_training_rows_that_were_test_rows_are_refused_by_number(registry: Registry) -> None:
    add(registry, "exam", test=questions("a", 1, 2, 3))
    train = [*questions("b", 1), *questions("a", 2), *questions("c", 1), *questions("a", 3)]
    with pytest.raises(Refused) as refused:
        add(registry, train=train)
    assert "2 training rows of `cases`" in refused.value.message
    assert "row 2: 100% of test row 2 of `dataset:exam@1`" in refused.value.message
    assert "row 4: 100% of test row 3" in refused.value.message
    assert Datasets(registry).list("cases") == []
    added = add(registry, train=train, drop_sealed=True)
    assert (added.dropped, added.dataset.record.splits["train"].rows) == (2, 2)


def test_more_refused_rows_than_are_shown_are_numbered(registry: Registry) -> None:
    add(registry, "exam", test=questions("a", *range(9)))
    with pytest.raises(Refused, match="and rows 6, 7, 8, 9\n"):
        add(registry, train=questions("a", *range(9)))
    with pytest.raises(Refused, match="9 training rows"):  # nothing would be left
        add(registry, train=questions("a", *range(9)), drop_sealed=True)


def test_rows_that_come_with_their_own_test_rows_are_held_against_them(
    registry: Registry,
) -> None:
    with pytest.raises(Refused, match="test row 1 of `cases, its own test rows`"):
        add(registry, train=questions("a", 1, 2), test=questions("a", 2))
    assert Datasets(registry).seals() == []


def test_a_build_is_refused_what_was_sealed_and_may_leave_it_out(registry: Registry) -> None:
    add(registry, "cases", train=questions("a", *range(30)))
    assert len(assemble(manifest(), registry=registry).splits.train) > 20
    add(registry, "exam", test=questions("a", 5, 6))
    with pytest.raises(Refused, match=r"data gate `sealed` refuses 2 rows\n  train row 6: 100%"):
        assemble(manifest(validation_share=1e-9), registry=registry)
    gates = {"sealed": {"action": "drop"}}
    kept = assemble(manifest(validation_share=1e-9, gates=gates), registry=registry)
    assert len(kept.splits.train) == 28
    # Nor is it let in by who names them as test rows of its own.
    own = manifest(validation_share=1e-9, test="dataset:exam@1")
    with pytest.raises(Refused, match="data gate `sealed` refuses 2 rows"):
        assemble(own, registry=registry)


def test_what_is_like_its_own_test_rows_is_another_gates(
    registry: Registry, tmp_path: Path
) -> None:
    """`contamination` warns of it; what is a test question itself, or a dataset's, is refused."""
    long = "where do i find the payment number {} of last year in the list"
    row, near = chat(long.format(1), "1"), chat("please " + long.format(1), "1")
    exam = tmp_path / "exam.jsonl"
    exam.write_text(lines_of([row]))
    add(registry, train=[near, *questions("a", *range(30))])
    add(registry, "same", train=[row, *questions("a", *range(30))])
    Datasets(registry).seal(make_seal([row]), "tiny, plan 1")
    wanted = {"validation_share": 1e-9, "test": str(exam)}
    built = assemble(manifest(**wanted), registry=registry)
    assert len(built.splits.train) == 31
    counts = {report.name: report.count for report in built.gates.reports}
    assert (counts["contamination"], counts["sealed"]) == ("1 row", "0 rows")
    other = manifest(validation_share=1e-9)  # not its own
    with pytest.raises(Refused, match="row 1: 92% of test row 1 of `tiny, plan 1`"):
        assemble(other, registry=registry)
    with pytest.raises(Refused, match="row 1: 100% of test row 1 of `tiny, plan 1`"):
        assemble(manifest("dataset:same@1", **wanted), registry=registry)
    add(registry, "exam", test=[row])
    with pytest.raises(Refused, match="92% of test row 1 of `dataset:exam@1`"):
        assemble(manifest(**wanted), registry=registry)


def test_a_manifest_cannot_turn_the_gate_off(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    for setting, words in (
        ("on = false", "cannot be turned off"),
        ('action = "warn"', "cannot only warn"),
        ("threshold = 1.0", "finds less above 0.8"),
    ):
        path.write_text(
            '[adapter]\nname = "tiny"\n[base]\nmodel = "smollm2-135m-instruct"\n'
            '[method]\nkind = "lora"\n[data]\ntrain = "dataset:cases@1"\n'
            f"[data.gates.sealed]\n{setting}\n"
        )
        (fault,) = check_manifest(path)[1]
        assert words in fault.message
        assert fault.line == 10


@pytest.mark.parametrize(
    ("share", "tenant", "tenants", "words"),
    [
        ("own", "acme", (), None),
        ("own", None, ("acme",), "only adapters of that tenant"),
        ("own", "other", ("acme",), "only adapters of that tenant"),
        ("none", "acme", (), "lets nobody"),
        ("all", "acme", (), None),
        ("all", "other", (), "does not say that it takes them"),
        ("all", "other", ("acme",), None),
        ("all", None, ("acme",), None),
    ],
)
def test_a_tenants_rows_go_where_both_say_so(
    registry: Registry, share: Any, tenant: str | None, tenants: tuple[str, ...], words: str | None
) -> None:
    about = About(tenant="acme", share=share)
    dataset = add(registry, about=about, train=questions("a", 1)).dataset
    wanted = manifest(tenant=tenant, tenants=tenants)
    if words is None:
        expected = Parent(relation="dataset", digest=dataset.digest, ref="dataset:cases@1")
        assert dataset_inputs(wanted, registry).datasets == (expected,)
    else:
        with pytest.raises(Refused, match=words):
            dataset_inputs(wanted, registry)
    for key in ("mix", "replay", "validation", "test"):
        add(registry, "free", train=questions("b", 1), validation=questions("c", 1))
        source = "dataset:cases@1"
        value: Any = {"mix": [{"source": source}], "replay": {"source": source}}.get(key, source)
        other = manifest("dataset:free@1", tenant=tenant, tenants=tenants, **{key: value})
        if words is None:
            relation = "test" if key == "test" else "dataset"
            assert (relation, "dataset:cases@1") in [
                (p.relation, p.ref) for p in dataset_inputs(other, registry).datasets
            ]
        else:
            with pytest.raises(Refused, match=words):
                dataset_inputs(other, registry)


def test_rows_are_divided_by_what_they_say() -> None:
    rows = questions("a", *range(400))
    divided = divide({"train": rows}, validation=0.1, test=0.25)
    assert 70 < len(divided["test"]) < 130
    assert 15 < len(divided["validation"]) < 55
    more = divide({"train": [*questions("b", *range(50)), *rows]}, validation=0.1, test=0.25)
    assert {r.digest for r in divided["test"]} <= {r.digest for r in more["test"]}
    again = divide({"train": divided["train"], "test": divided["test"]}, validation=0.0, test=0.0)
    assert again["test"] == divided["test"]


def test_rows_of_one_group_stay_together() -> None:
    rows = [row for n in range(60) for row in questions("a", n, n + 1000, patient=n % 20)]
    divided = divide({"train": rows}, validation=0.0, test=0.4, by="patient")
    sides = [{row.meta["patient"] for row in divided[split]} for split in ("train", "test")]
    assert sides[0] | sides[1] == set(range(20))
    assert not sides[0] & sides[1]
    assert len(sides[1]) > 2
    with pytest.raises(InvalidInput, match="train row 1 has no column `ward`"):
        divide({"train": rows}, validation=0.0, test=0.4, by="ward")


def test_a_group_with_a_test_row_goes_to_the_test_rows() -> None:
    rows = [row for n in range(60) for row in questions("a", n, n + 1000, patient=n % 20)]
    was = {"train": rows[3:], "test": rows[:3]}  # patients 0 and 1
    divided = divide(was, validation=0.0, test=0.2, by="patient")
    sides = [{row.meta["patient"] for row in divided[split]} for split in ("train", "test")]
    assert not sides[0] & sides[1]
    assert {0, 1} <= sides[1]
    plain = divide({"train": rows}, validation=0.0, test=0.2, by="patient")
    drawn = {row.digest for row in divided["test"]} - {row.digest for row in plain["test"]}
    assert along(was, test=0.2, by="patient") == len(drawn) - 3 > 0
    with pytest.raises(Refused, match="every `patient` has a row that is a test row"):
        divide({"train": rows[2:], "test": rows[:40]}, validation=0.0, test=0.2, by="patient")


def test_two_versions_are_compared_by_rows() -> None:
    one, two, three, four = questions("a", 1, 2, 3, 4)
    found = row_diff({"train": [one, two, three]}, {"train": [one, four], "test": [two]})
    assert (found.added, found.gone) == ({"train": [four]}, {"train": [three]})
    assert found.moved == {("train", "test"): [two]}
    assert row_diff({"train": [one]}, {"train": [one]}).empty


def test_erased_rows_leave_every_dataset_and_every_learner_is_named(registry: Registry) -> None:
    first = add(registry, "cases", train=questions("a", 1, 2, 3)).dataset
    add(registry, "cases", train=questions("a", 1, 2, 3, 4), test=questions("b", 1))
    add(registry, "copy", train=questions("a", 2))
    add(registry, "others", train=questions("c", 2))
    found = look_for_rows(registry, first, [("train", 2)])
    held = {(str(of.dataset), *of.rows.items()) for of in found.held}
    assert held == {
        ("cases@1", ("train", (2,))),
        ("cases@2", ("train", (2,))),
        ("copy@1", ("train", (1,))),
    }
    done = erase_rows(registry, found, who="me", why="withdrew")
    assert [str(dataset) for dataset in done.successors] == ["cases@3"]
    datasets = Datasets(registry)
    newest = datasets.get("cases")
    answers = {split: [r.answer for r in of] for split, of in rows_of(datasets, newest).items()}
    assert answers == {"train": ["1", "3", "4"], "test": ["1"]}
    assert [parent.relation for parent in newest.record.parents] == ["erasure"]
    assert len(done.blobs) == 3
    for blob in done.blobs:
        assert not registry.blobs.exists(blob)
    with pytest.raises(Refused, match="withdrew"):
        load_source("dataset:cases@1", "messages", registry=registry)
    assert look_for_rows(registry, newest, [("train", 1)]).held[0].dataset == newest
    with pytest.raises(InvalidInput, match="no train row 9"):
        look_for_rows(registry, newest, [("train", 9)])


def learner(registry: Registry, path: Path, number: int, *parents: Parent, **files: str) -> str:
    """A release made of parents; returns its `NAME@VERSION`."""
    made = folder(path / str(number), number)
    for name, text in files.items():
        (made / f"{name}.jsonl").write_text(text)
    published = registry.publish(made, draft(number, name=f"m{number}", parents=parents), who="me")
    return f"{published.name}@{published.version}"


def made_of(dataset: Dataset, relation: str = "dataset") -> Parent:
    return Parent(relation=relation, digest=dataset.digest, ref=dataset.ref)


def went_on(registry: Registry, ref: str) -> Parent:
    return Parent(relation="start", digest=registry.resolve(ref).digest, ref=ref)


def test_whoever_learnt_a_row_is_named_however_much_was_erased_before(
    registry: Registry, tmp_path: Path
) -> None:
    first = add(registry, "cases", train=questions("a", 1, 2, 3)).dataset
    learner(registry, tmp_path, 1, made_of(first))
    learner(registry, tmp_path, 2, went_on(registry, "m1@1"))  # it has what m1 learnt
    registry.delete("m1", 1, who="me")
    learner(registry, tmp_path, 3, made_of(first, "test"))
    learner(registry, tmp_path, 4, went_on(registry, "m3@1"))  # which has learnt none of them
    learner(
        registry, tmp_path, 5, made_of(add(registry, "others", train=questions("c", 2)).dataset)
    )
    found = look_for_rows(registry, first, [("train", 1)])
    assert [str(release) for release in found.releases] == ["m2@1", "m3@1"]
    erase_rows(registry, found, who="me", why="the first withdrew")

    second = Datasets(registry).get("cases")
    found = look_for_rows(registry, second, [("train", 1)])  # row 2 of the first
    assert [held.dataset for held in found.held] == [second]
    assert found.before == (first,)
    assert [str(release) for release in found.releases] == ["m2@1", "m3@1"]
    assert found.unknown == ()
    other = look_for_rows(registry, Datasets(registry).get("others"), [("train", 1)])
    assert (other.before, [str(one) for one in other.releases]) == ((), ["m5@1"])


def test_what_was_erased_before_it_was_noted_is_said_to_be_unknown(
    registry: Registry, tmp_path: Path
) -> None:
    first = add(registry, "cases", train=questions("a", 1, 2)).dataset
    learner(registry, tmp_path, 1, made_of(first))
    blob = first.record.splits["train"].digest
    with registry.database.write() as connection:  # as versions of before erased
        absences.erase(connection, blob, who="me", why="the first withdrew")
    registry.blobs.delete(blob)
    about = About(parents=(Parent(relation="erasure", digest=first.digest, ref=first.ref),))
    second = add(registry, "cases", about, train=questions("a", 2)).dataset
    add(registry, "others", train=questions("c", 2))
    found = look_for_rows(registry, second, [("train", 1)])
    assert (found.before, found.unknown) == ((), (first,))
    assert [str(release) for release in found.releases] == ["m1@1"]
    other = look_for_rows(registry, Datasets(registry).get("others"), [("train", 1)])
    assert (other.unknown, other.releases) == ((), ())


def erased(registry: Registry, row: int = 2) -> None:
    """Row `row` of three is erased."""
    first = add(registry, "cases", train=questions("a", 1, 2, 3)).dataset
    erase_rows(registry, look_for_rows(registry, first, [("train", row)]), who="me", why="withdrew")


def test_an_erased_row_comes_back_in_no_dataset(registry: Registry) -> None:
    erased(registry)
    again = [chat("be brief", "ok"), *questions("a", 1, 2, 4)]
    for split in ("train", "validation", "test"):
        with pytest.raises(Refused) as refused:
            add(registry, "more", **{split: again})
        said, _, why = refused.value.message.partition("\n")
        assert said == "1 row of `more` was erased from this registry"
        assert why.startswith(f"  {split} row 3: it was erased on 20")
        assert why.endswith(": withdrew")
    added = add(registry, "more", train=again, drop_sealed=True)
    assert (added.erased, added.dropped) == (1, 0)
    kept = rows_of(Datasets(registry), added.dataset)["train"]
    assert [row.answer for row in kept] == ["ok", "1", "4"]
    with pytest.raises(Refused, match="1 row of `more` was erased"):
        add(registry, "more", train=questions("a", 2), drop_sealed=True)  # nothing is left
    assert add(registry, "more", train=questions("a", 1, 3, 5)).erased == 0


def test_an_erased_row_comes_back_in_no_build(registry: Registry, tmp_path: Path) -> None:
    erased(registry)
    rows = [*questions("a", 1, 2), *questions("d", *range(9))]
    (tmp_path / "old.jsonl").write_text(lines_of(rows))
    (tmp_path / "new.jsonl").write_text(lines_of(questions("e", *range(9))))
    old, new = (str(tmp_path / name) for name in ("old.jsonl", "new.jsonl"))
    none = {"validation_share": 1e-9}
    for train, more in (
        (old, none),
        (new, none | {"test": old}),
        (new, {"validation": old}),
        (old, none | {"system": "answer briefly"}),
    ):
        with pytest.raises(Refused, match=r"`sealed` refuses 1 row\n.* row 2: it was erased on 20"):
            assemble(manifest(train, **more), registry=registry)
        gates = {"sealed": {"action": "drop"}}
        kept = assemble(manifest(train, gates=gates, **more), registry=registry).splits
        assert all(
            row.answer != "2" or "d number" in str(row) or "e number" in str(row)
            for row in (*kept.train, *kept.validation, *kept.test)
        )
        assert len(kept.train) + len(kept.validation) + len(kept.test) in (10, 19)
    replayed = none | {"replay": {"source": old, "share": 0.5}}
    with pytest.raises(Refused, match=r"1 rows of `data.replay` were erased from this"):
        assemble(manifest(new, **replayed), registry=registry)
    dropped = assemble(manifest(new, gates=gates, **replayed), registry=registry).splits
    assert dropped.datasheets[-1].counts["were erased"] == 1
    # What a release was built from is derived again by what was erased then.
    dropping = manifest(old, gates=gates, **none)
    splits = rows_of_build(dropping, registry=registry, as_of=AsOf(""))
    assert len(splits.train) == len(rows)
    assert len(rows_of_build(dropping, registry=registry).train) == len(rows) - 1


def test_files_of_releases_that_say_what_an_erased_row_says_go_with_it(
    registry: Registry, tmp_path: Path
) -> None:
    dataset = add(registry, "cases", train=questions("a", 1, 2), test=questions("b", 1, 2)).dataset
    asked = [[*row.prompt] for row in questions("b", 1, 2)]
    lines = "".join(
        json.dumps({"row": n, "prompt": prompt, "reference": "x", "answers": {"candidate": "y"}})
        + "\n"
        for n, prompt in enumerate(asked, start=1)
    )
    sampled = json.dumps({"prompt": [*questions("a", 2)[0].prompt], "text": "z"}) + "\n"
    other = json.dumps({"prompt": [*questions("a", 1)[0].prompt], "text": "z"}) + "\n"
    learner(registry, tmp_path, 1, made_of(dataset, "test"), predictions=lines)
    learner(registry, tmp_path, 2, made_of(dataset), samples=sampled)
    learner(registry, tmp_path, 3, made_of(dataset), samples=other)
    place = registry.home / "reviews" / "round"
    place.mkdir(parents=True)
    digest = registry.resolve("m1@1").digest
    (place / "review.json").write_text(json.dumps({"against": {"digest": digest}}))

    found = look_for_rows(registry, dataset, [("test", 2), ("train", 2)])
    told = [(str(one.release), one.path, one.goes) for one in found.texts]
    assert sorted(told) == [("m1@1", "predictions.jsonl", True), ("m2@1", "samples.jsonl", True)]
    done = erase_rows(registry, found, who="me", why="withdrew")
    assert done.reviews == ("round",)
    assert not place.exists()
    for name, path, left in (
        ("m1@1", "predictions.jsonl", False),
        ("m2@1", "samples.jsonl", False),
        ("m3@1", "samples.jsonl", True),
    ):
        data = registry.read_if_here(registry.resolve(name).digest, path)
        assert (data is not None) is left
    assert registry.upkeep.verify().problems == []
    assert b"a number 2 of" not in bytes_under(tmp_path / "blobs")


def bytes_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_rows_are_the_same_bytes_wherever_they_were_read() -> None:
    row = chat("q", "a", ward=7)
    read = row.with_meta(source="rows.jsonl", row=4)
    assert encode([row]) == encode([read])
    assert decode(encode([read])) == (row,)
    with pytest.raises(InvalidInput, match="row 1 has a column that JSON does not hold"):
        encode([chat("q", "a", big=2**70)])


@pytest.mark.parametrize(
    ("row", "format"),
    [
        (chat("q", "a", ward=7), "messages"),
        (Row(text="prose", meta={"page": 3}), "text"),
        (Row(chat("q", "a").messages, others=(chat("", "b").messages[1:],)), "preference"),
        (Row(chat("q", "a").messages, scores=(0.0,)), "unpaired-preference"),
    ],
)
def test_exported_rows_are_read_as_the_same_rows(row: Row, format: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines_of([row]))
    (read,) = load_source(str(path), format).rows
    assert read.digest == row.digest
    assert {k: v for k, v in read.meta.items() if k not in ("row", "source")} == row.meta


def test_what_cannot_be_a_dataset_is_refused(registry: Registry) -> None:
    for rows, about, words in (
        ({}, About(), "no rows"),
        ({"train": questions("a", 1)}, About(share="none"), "no tenant is named"),
        ({"train": questions("a", 1)}, About(share="all"), "`--share all` is about a tenant's"),
    ):
        with pytest.raises(AdapterworksError, match=words):
            add(registry, "cases", about, **rows)
    with pytest.raises(InvalidInput, match="not an adapter name"):
        add(registry, "UPPER", train=questions("a", 1))


def test_datasets_behind_a_server_are_asked_of_it(tmp_path: Path) -> None:
    server = RemoteRegistry("https://registry.example", None, tmp_path / "home")
    with pytest.raises(Unavailable, match=r"`registry\.example` is not found"):
        dataset_inputs(manifest(), server)
