"""Whole builds through the command, on a tiny base: publish, no-op, kill -9 and resume, gates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from adapterworks.builders.building import record, sequence, stages
from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.record import Stages
from adapterworks.manifests.errors import Conflict, NotFound
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release
from tests.builders.build_support import make_tiny_base
from tests.builders.workshop import Workshop
from tests.warm.family import behind
from tests.warm.python import COMMAND, warm_python

pytestmark = pytest.mark.train


def check_provenance(registry: Registry, release: Release) -> None:
    """The statement is one to in-toto's own reader and covers every other file of the release."""
    statement = json.loads(registry.read(release.digest, "provenance.json"))
    message = ParseDict(statement, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    subjects = {item["name"]: f"sha256:{item['digest']['sha256']}" for item in statement["subject"]}
    written_last = {"provenance.json", "sbom.cdx.json"}
    assert subjects == {
        path: entry.digest for path, entry in release.files.items() if path not in written_last
    }
    build = statement["predicate"]["buildDefinition"]
    assert build["internalParameters"]["plan"] == release.plan
    assert build["externalParameters"]["manifest"] == release.manifest
    needed = {item["name"]: item.get("digest") for item in build["resolvedDependencies"]}
    assert needed["base"] == {"sha256": release.base.digest.removeprefix("sha256:")}
    rows = release.provenance.data["train"].removeprefix("sha256:")
    assert needed["rows:train"] == {"sha256": rows}
    bill = json.loads(registry.read(release.digest, "sbom.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    lock = json.loads(registry.read(release.digest, "adapter.lock"))
    purls = {part["purl"] for part in bill["components"] if part["type"] == "library"}
    for name, version in lock["packages"].items():
        assert f"pkg:pypi/{name}@{version.replace('+', '%2B')}" in purls
    refs = [part["bom-ref"] for part in bill["components"]]
    assert len(set(refs)) == len(refs)
    assert bill["dependencies"] == [
        {"ref": bill["metadata"]["component"]["bom-ref"], "dependsOn": refs}
    ]


def test_a_build_publishes_what_a_release_promises_and_only_once(workshop: Workshop) -> None:
    manifest = workshop.manifest()
    built = workshop.json(manifest)
    again = workshop.json(manifest)
    assert (again["ref"], again["created"]) == (built["ref"], False)
    assert workshop.json(manifest, "--force")["ref"] == "tiny@2"
    assert built["ref"] == "tiny@1"
    assert built["alias"] == "candidate"
    registry = workshop.registry()
    release = registry.release(built["digest"])
    assert {
        "adapter/adapter_model.safetensors",
        "servable/adapter_model.safetensors",
        "manifest.json",
        "adapter.lock",
        "report.json",
        "predictions.jsonl",
        "fingerprint.json",
        "training.jsonl",
        "README.md",
        "plots/loss.png",
        "plots/scores.png",
        "provenance.json",
        "sbom.cdx.json",
    } <= set(release.files)
    check_provenance(registry, release)
    fingerprint = json.loads(registry.read(built["digest"], "fingerprint.json"))
    assert len(fingerprint["probes"]) >= 8
    for probe in fingerprint["probes"]:
        for position, adapter in zip(probe["positions"], probe["adapter"], strict=True):
            assert 0 < position < len(probe["token_ids"])
            assert len(adapter) == 20
    memory = built["report"]["training"]["memory"]
    assert memory["predicted"] > 0
    assert memory["measured"] > 0
    card = registry.read(built["digest"], "README.md").decode()
    assert card.startswith("---\nlicense:")
    # No adapter tells where it was built.
    assert str(workshop.home).encode() not in registry.read(
        built["digest"], "adapter/adapter_config.json"
    )


def test_a_build_killed_in_training_resumes_to_the_same_weights(
    workshop: Workshop, tmp_path: Path, tiny: Path
) -> None:
    """Axolotl #2568: a real kill -9 of a real build, then the same command again."""
    manifest = workshop.manifest(epochs=40)
    process = subprocess.Popen(
        [warm_python(), "-c", COMMAND, "build", manifest],
        env=os.environ | workshop.environment,
        stderr=subprocess.DEVNULL,
    )
    folder = workshop.wait_for_checkpoint(process)
    trainer = json.loads((folder / "job.json").read_text())["parent"]
    assert trainer == behind(psutil.Process(process.pid)).pid
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "train" / "result.json").exists()
    resumed = workshop.json(manifest, "--resume")
    events = (folder / "events.jsonl").read_text()
    assert '"event":"resumed"' in events
    other = tmp_path / "other"
    other.mkdir()
    whole = Workshop(other, tiny)
    uninterrupted = whole.json(whole.manifest(epochs=40))
    path = "adapter/adapter_model.safetensors"
    assert workshop.registry().read(resumed["digest"], path) == whole.registry().read(
        uninterrupted["digest"], path
    )


def test_a_training_that_ended_is_not_repeated_because_it_was_not_recorded(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the training's end and its record: its checkpoints are there to go on from,
    and are gone once it is recorded."""
    put, convert, manifest = Stages.put, sequence.convert_stage, workshop.manifest(epochs=2)
    there: list[bool] = []

    def killed(self: Stages, name: str, *arguments: Any, **further: Any) -> None:
        raise RuntimeError("killed")

    def watched(prepared: Any, folder: Path) -> dict[str, Any]:
        there.append((folder / "train" / "checkpoints").exists())
        return convert(prepared, folder)

    monkeypatch.setattr(Stages, "put", killed)
    assert str(workshop.build(manifest).exception) == "killed"
    monkeypatch.setattr(Stages, "put", put)
    monkeypatch.setattr(sequence, "convert_stage", watched)
    built = workshop.json(manifest, "--resume")
    lines = workshop.registry().read(built["digest"], "training.jsonl").decode().splitlines()
    told = [json.loads(line) for line in lines]
    assert [event["step"] for event in told if event["event"] == "step"] == [*range(1, 7)]
    assert [event["step"] for event in told if event["event"] == "resumed"] == [6]
    assert there == [False]


@pytest.mark.parametrize(
    "judged",
    [
        '[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.05\n',
        "[evaluate.retention]\non = true\nmax_perplexity_increase = 0.05\n",
        "[evaluate.safety]\non = true\nmax_refusal_loss = 0.1\n",
    ],
    ids=["gate", "retention", "safety"],
)
def test_without_test_rows_nothing_is_built_that_gates_should_judge(
    workshop: Workshop, judged: str
) -> None:
    """A table of one row many times has no other to hold out."""
    row = (workshop.folder / "train.jsonl").read_text().splitlines()[0]
    (workshop.folder / "train.jsonl").write_text(f"{row}\n" * 30)
    path = Path(workshop.manifest(epochs=1, more=judged))
    text = path.read_text().replace('test = "test.jsonl"\n', "test_share = 0.2\n")
    path.write_text(text)
    result = workshop.build(str(path))
    assert "there are no test rows" in str(result.exception)
    assert "raise `data.test_share`" in str(getattr(result.exception, "hint", ""))
    with pytest.raises(NotFound):
        workshop.registry().resolve("tiny")


def test_the_prod_that_was_asked_is_the_one_that_is_recorded(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (workshop.json(workshop.manifest(epochs=epochs)) for epochs in (1, 2))
    workshop.registry().promote("tiny", 1, "prod", who="ann")
    ask = stages.evaluate_subjects

    def moved(*arguments: Any, **options: Any) -> Any:
        workshop.registry().promote("tiny", 2, "prod", who="ann")
        return ask(*arguments, **options)

    monkeypatch.setattr(stages, "evaluate_subjects", moved)
    gate = '[[evaluate.gates]]\nmetric = "exact_match"\nagainst = "prod"\nmin_gain = -1.0\n'
    built = workshop.json(workshop.manifest(epochs=3, more=gate))
    lock = json.loads(workshop.registry().read(built["digest"], "adapter.lock"))
    assert lock["prod"] == first["digest"] != second["digest"]


def test_an_alias_that_was_rolled_back_during_a_build_stays(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the build was killed and goes on later."""
    convert = sequence.convert_stage
    for epochs in (1, 2):
        workshop.json(workshop.manifest(epochs=epochs))

    def rolled_back(*arguments: Any) -> Any:
        workshop.registry().rollback("tiny", "candidate", who="ann", why="worse")
        raise RuntimeError("killed")

    monkeypatch.setattr(sequence, "convert_stage", rolled_back)
    manifest = workshop.manifest(epochs=3)
    assert str(workshop.build(manifest).exception) == "killed"
    monkeypatch.setattr(sequence, "convert_stage", convert)
    built = workshop.json(manifest)
    assert (built["ref"], built["alias"], built["reasons"]) == ("tiny@3", None, [])
    assert "`tiny:candidate` was rolled back by ann" in built["kept"]
    assert workshop.registry().resolve("tiny:candidate").version == 1
    # What is built from now on knows of it.
    later = workshop.json(workshop.manifest(epochs=4))
    assert (later["alias"], later["kept"]) == ("candidate", "")
    assert workshop.registry().resolve("tiny:candidate").version == 4


def test_resume_without_anything_to_resume_says_so(workshop: Workshop) -> None:
    result = workshop.build(workshop.manifest(), "--resume")
    assert isinstance(result.exception, NotFound)
    assert "no unfinished build" in str(result.exception)


def test_two_builds_of_one_plan_do_not_collide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapterworks.builders.building.lock._PATIENCE", 0.3)
    with (
        build_lock(tmp_path),
        pytest.raises(Conflict, match=f"process {os.getpid()} is building"),
        build_lock(tmp_path),
    ):
        raise AssertionError("the lock was given twice")


def test_what_cannot_be_removed_afterwards_is_a_note(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release is published: the command says so, and where files are left."""

    def busy(path: Path) -> None:
        raise OSError(16, "Device or resource busy", str(path))

    monkeypatch.setattr(record, "_remove", busy)
    result = workshop.build(workshop.manifest(epochs=1))
    assert result.exit_code == 0, result.output
    assert (
        f"note: files of this build are left in `{workshop.home / 'builds'}/tiny-" in result.stderr
    )
    assert workshop.registry().resolve("tiny@1")


def test_failing_gates_publish_but_leave_the_alias(workshop: Workshop) -> None:
    """A quality gate that fails and a conversion that loses too much: one line each."""
    gate = '\n[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.99\n'
    built = workshop.json(
        workshop.manifest("full", epochs=1, rate=1e-4, more=gate),
        "--set",
        "serve.conversion_rank=1",
        "--set",
        "serve.max_conversion_error=0.01",
    )
    assert built["ref"] == "tiny@1"
    assert built["alias"] is None
    assert built["servable"] is None
    quality, conversion = built["reasons"]
    assert "exact_match: gain over base" in quality
    assert "serve.max_conversion_error" in conversion
    with pytest.raises(NotFound):
        workshop.registry().resolve("tiny:candidate")
    files = workshop.registry().release(built["digest"]).files
    assert "full/model.safetensors" in files
    assert "full/tokenizer.json" in files


@pytest.mark.parametrize(("kind", "form"), [("full", "lora"), ("prefix-tuning", "prefix")])
def test_other_forms_are_published_whole(workshop: Workshop, kind: str, form: str) -> None:
    built = workshop.json(workshop.manifest(kind, epochs=2, rate=1e-3))
    assert built["servable"]["form"] == form
    if kind == "full":
        # What the cut loses is scored on the test rows, not only as a norm.
        assert "native" in built["report"]["metrics"]["exact_match"]["values"]
        assert built["report"]["conversion"]["left_out"]


def test_tiny_bases_are_made_equal(tmp_path: Path, tiny: Path) -> None:
    """The fixture itself is deterministic, so weights of two builds can be compared."""
    again = make_tiny_base(tmp_path / "again")
    assert (again / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
