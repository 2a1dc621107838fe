"""A build on a dataset, by commands: what it learnt from is named, what it was tested on sealed."""

from __future__ import annotations

import json

from adapterworks.builders.building.dataset_inputs import TESTED_ON, TRAINED_ON
from adapterworks.builders.data.datasets import rows_of
from adapterworks.cli.data import command as data
from adapterworks.cli.dataset import command as dataset
from adapterworks.cli.erase import command as erase
from adapterworks.cli.lineage import command as lineage
from adapterworks.cli.plan import command as plan
from adapterworks.manifests.errors import Conflict
from adapterworks.registry.datasets.store import Datasets
from tests.builders.workshop import Workshop


def test_from_rows_to_a_release_and_back(workshop: Workshop) -> None:
    files = {split: str(workshop.folder / f"{split}.jsonl") for split in ("train", "test")}
    added = workshop.invoke(
        dataset, "add", "cases", files["train"], "--test", files["test"], "--source", "ward 7",
        "--reviewed-by", "Dr. Wu", "--tenant", "acme", "--json",
    )  # fmt: skip
    assert added.exit_code == 0, added.output
    digest = json.loads(added.stdout)["digest"]
    path = workshop.manifest(epochs=1)
    text = (workshop.folder / "lora.toml").read_text()
    text = text.replace('name = "tiny"', 'name = "tiny"\ntenant = "acme"')
    named = text.replace('"train.jsonl"', '"dataset:cases@1"').replace(
        '"test.jsonl"', '"dataset:cases@1"'
    )
    (workshop.folder / "lora.toml").write_text(named)
    built = workshop.json(path)
    registry = workshop.registry()
    release = registry.release(built["digest"])
    assert [(p.relation, p.digest, p.ref) for p in release.parents] == [
        (TRAINED_ON, digest, "dataset:cases@1"),
        (TESTED_ON, digest, "dataset:cases@1"),
    ]
    assert release.details == {"tenants": {"acme": "own"}}
    lock = json.loads(registry.read(release.digest, "adapter.lock"))
    assert [parent["digest"] for parent in lock["data"]["datasets"]] == [digest, digest]
    seals = Datasets(registry).seals()
    assert {of.blob for of in seals} == {seals[0].blob}  # the dataset's test rows are the release's
    assert [of.owner.partition(",")[0] for of in seals] == ["dataset:cases@1", "tiny"]

    # What it got wrong: none of it is learnt, rows of a pool that are like it are.
    pool = workshop.folder / "pool.jsonl"
    rows = [(workshop.folder / f"{split}.jsonl").read_text() for split in ("train", "test")]
    pool.write_text(rows[0] + rows[1] + rows[1].replace("code of case", "which code has case"))
    failed = workshop.invoke(
        data, "from-failures", "tiny@1", "--pool", str(pool), "--share", "1", "--json"
    )
    assert failed.exit_code == 0, failed.output or failed.exception
    told = json.loads(failed.stdout)
    lines = registry.read(release.digest, "predictions.jsonl").decode().splitlines()
    right = [json.loads(line)["scores"]["candidate"]["exact_match"] for line in lines]
    assert sum(of["failures"] for of in told["clusters"]) == right.count(0.0) > 0
    hard = Datasets(registry).get("tiny-failures")
    assert told["dataset"] == hard.ref
    assert [(p.relation, p.digest) for p in hard.record.parents] == [("failures", release.digest)]
    kept = rows_of(Datasets(registry), hard)["train"]
    assert {row.question.partition(" 2")[0] for row in kept} == {"which code has case"}
    again = workshop.invoke(data, "from-failures", "tiny@1", "--from", "feedback")
    assert "which feedback?" in str(again.exception)

    # A row that a release was tested on: `plan` refuses it in whatever file it comes.
    (workshop.folder / "lora.toml").write_text(text.replace('"train.jsonl"', '"more.jsonl"'))
    first, fourth = rows[0].splitlines()[0], rows[1].splitlines()[3]
    (workshop.folder / "more.jsonl").write_text(f"{rows[0]}{fourth}\n")
    (workshop.folder / "test.jsonl").write_text(first.replace("case", "ward") + "\n")
    refused = workshop.invoke(plan, path)
    message = str(refused.exception)
    assert "data gate `sealed` refuses 1 row\n  train row 25: 100% of test row 4 of" in message

    shown = workshop.invoke(lineage, "tiny@1").stdout
    assert f"dataset  dataset:cases@1 {digest} of tiny@1" in " ".join(shown.split()).replace(
        "dataset dataset", "dataset  dataset"
    )
    assert "(not here)" not in shown
    (folder,) = (workshop.home / "builds").glob("tiny-*")
    kept = {path.name for path in folder.iterdir()}
    told_of = {".lock", "build.json", "events.jsonl", "job.json", "train.log"}
    assert kept == told_of, "a published build keeps no rows"
    gone = workshop.invoke(
        erase, "dataset:cases@1", "train:2", "--why", "withdrew", "--yes", "--json"
    )
    assert gone.exit_code == 0, gone.output
    told = json.loads(gone.stdout)
    assert told["releases"] == [{"ref": "tiny@1", "digest": release.digest}]
    assert told["builds"] == [str(folder)]
    assert [path.name for path in folder.iterdir()] == [".lock"]
    assert told["successors"] == ["dataset:cases@2"]
    listed = json.loads(workshop.invoke(dataset, "list", "cases", "--json").stdout)
    assert [of["record"]["splits"]["train"]["rows"] for of in listed] == [23, 24]


def test_what_commands_say_of_datasets(workshop: Workshop) -> None:
    rows = str(workshop.folder / "train.jsonl")
    assert workshop.invoke(dataset, "add", "cases", rows).exit_code == 0
    again = workshop.invoke(dataset, "add", "cases", rows)
    assert "(was there already)" in again.stdout
    divided = workshop.invoke(dataset, "split", "cases", "--test", "0.3")
    assert divided.stdout.startswith("dataset:cases@2  "), divided.output
    changes = workshop.invoke(dataset, "diff", "cases@1", "cases@2").stdout.splitlines()
    part = Datasets(workshop.registry()).get("cases").record.splits["test"]
    assert len(changes) == part.rows > 0
    assert all(line.startswith("train → test  user: code of case ") for line in changes)
    shown = workshop.invoke(dataset, "show", "dataset:cases@2").stdout
    assert "from (split)  dataset:cases@1 sha256:" in shown
    out = workshop.folder / "out"
    assert workshop.invoke(dataset, "export", "cases@2", str(out)).exit_code == 0
    assert len((out / "test.jsonl").read_text().splitlines()) == part.rows
    # Another version into the same folder: its sealed rows would be taken for this one's.
    again = workshop.invoke(dataset, "export", "cases@1", str(out))
    assert isinstance(again.exception, Conflict)
    assert (out / "test.jsonl").exists()
    assert workshop.invoke(dataset, "export", "cases@1", str(out), "--force").exit_code == 0
    assert not (out / "test.jsonl").exists()
    bad = workshop.invoke(dataset, "add", "cases", rows, "--column", "prompt")
    assert "`--column prompt` names no column" in str(bad.exception)
    named = workshop.invoke(erase, "dataset:cases@2", "row 7", "--why", "x", "--yes")
    assert "write SPLIT:NUMBER" in str(getattr(named.exception, "hint", ""))
    asked = ("--why", "withdrew", "--yes")
    assert workshop.invoke(erase, "dataset:cases@1", "train:1", *asked).exit_code == 0
    second = workshop.invoke(erase, "dataset:cases", "train:1", *asked)
    assert "had them, erased before: dataset:cases@1" in second.stdout, second.output
    grown = workshop.folder / "grown.jsonl"
    grown.write_text((workshop.folder / "train.jsonl").read_text())
    back = workshop.invoke(dataset, "add", "grown", str(grown))
    assert "2 rows of `grown` were erased from this registry" in str(back.exception)
    left = workshop.invoke(dataset, "add", "grown", str(grown), "--drop-sealed")
    assert "2 rows were erased from this registry and were left out" in left.stderr
