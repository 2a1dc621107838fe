"""Stages are done again only when something that they read has changed; nothing of a release tells
where, or by whom, it was built."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.building import run, sequence, surroundings
from adapterworks.builders.evaluation import needs
from adapterworks.builders.evaluation.metrics import metric as metric_named
from adapterworks.cli.build import command as build
from adapterworks.cli.plan import command as plan
from adapterworks.cli.verify import command as verify
from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.registry.releases.release import Release
from adapterworks.settings import Settings
from tests.builders.build_support import make_tiny_base
from tests.builders.training.test_accelerate import CONFIG
from tests.builders.workshop import Workshop

pytestmark = pytest.mark.train
GATE = '\n[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = 0.99\n'
WEIGHTS = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A project with its base in a folder beside it, and one release whose gate failed."""
    folder = tmp_path_factory.mktemp("project")
    make_tiny_base(folder / "base")
    workshop = Workshop(folder, "./base")
    built = workshop.json(workshop.manifest(epochs=1, more=GATE))
    assert (built["ref"], built["alias"], built["reused"]) == ("tiny@1", None, {})
    return workshop


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Whoever trains, fails."""
    monkeypatch.setattr(sequence, "train_stage", _fail)
    return monkeypatch


@pytest.fixture
def unasked(untrained: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Whoever trains, converts or asks a model, fails."""

    def ask(*_: Any) -> Any:
        raise AssertionError("it was done again")

    for stage in ("convert_stage", "fingerprint_stage", "evaluate_stage"):
        untrained.setattr(sequence, stage, ask)
    return untrained


def manifest(clone: Workshop) -> str:
    return str(clone.folder / "lora.toml")


def latest(clone: Workshop) -> tuple[str, Release]:
    registry = clone.registry()
    (row,) = registry.versions("tiny", limit=1)
    return f"tiny@{row.version}", registry.release(row.digest)


def test_a_corrected_tag_is_published_again_and_nothing_is_done_again(
    clone: Workshop, unasked: pytest.MonkeyPatch
) -> None:
    registry = clone.registry()
    first = registry.release(registry.resolve("tiny@1").digest)
    said = clone.build(manifest(clone), "--set", 'adapter.tags=["icd"]')
    assert said.exit_code == 0, said.output or said.exception
    ref, release = latest(clone)
    assert f"published {ref}" in said.stdout
    for title in ("training", "conversion", "answers", "evaluation"):
        assert f"{title}: reused from tiny@1" in said.stdout
    assert release.tags == ("icd",)
    assert release.files[WEIGHTS] == first.files[WEIGHTS]
    assert (
        release.files["servable/adapter_model.safetensors"]
        == first.files["servable/adapter_model.safetensors"]
    )
    assert release.files["fingerprint.json"] == first.files["fingerprint.json"]
    # Lineage: whose weights these are.
    (parent,) = release.parents
    assert (parent.relation, parent.ref, parent.digest) == ("weights", "tiny@1", first.digest)
    assert [ancestor.ref for ancestor in registry.origins.lineage(ref).parents] == ["tiny@1"]
    lock = json.loads(registry.read(release.digest, "adapter.lock"))
    assert lock["reused"]["train"] == {"ref": "tiny@1", "digest": first.digest}
    card = registry.read(release.digest, "README.md").decode()
    assert "trained as tiny@1, whose weights these are" in card
    # The same plan again is its release.
    again = clone.json(manifest(clone), "--set", 'adapter.tags=["icd"]')
    assert (again["ref"], again["created"]) == (ref, False)


def test_another_name_reuses_the_training_too(clone: Workshop, unasked: pytest.MonkeyPatch) -> None:
    built = clone.json(manifest(clone), "--set", 'adapter.name="renamed"')
    assert built["ref"] == "renamed@1"
    assert built["reused"]["train"].startswith("tiny@")


def test_a_looser_gate_is_judged_again_and_the_alias_moves(
    clone: Workshop, unasked: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound):
        clone.registry().resolve("tiny:staging")
    said = clone.build(
        manifest(clone),
        "--set",
        'evaluate.gates=[{metric="exact_match", min_gain=-1.0}]',
        "--set",
        'publish.alias="staging"',
    )
    assert said.exit_code == 0, said.output or said.exception
    assert re.search("training: reused from (tiny|renamed)@", said.stdout)
    assert "evaluation: done again, since this changed: `evaluate.gates`" in said.stderr
    ref, _ = latest(clone)
    assert str(clone.registry().resolve("tiny:staging").version) == ref.partition("@")[2]


def test_changed_metric_code_is_evaluated_again_without_training(
    clone: Workshop, unasked: pytest.MonkeyPatch
) -> None:
    """As if the metric's file had been mended: it counts every answer as right now."""
    original = metric_named("exact_match")

    def mended(name: str) -> Any:
        return replace(
            original, statistics=lambda given, rows: 0 * original.statistics(given, rows) + 1
        )

    registry = clone.registry()
    before = json.loads(registry.read(registry.resolve("tiny@1").digest, "report.json"))
    unasked.setattr(surroundings, "source_digest", lambda kind, name: "sha256:" + "9" * 64)
    unasked.setattr(needs, "metric_named", mended)
    said = clone.build(manifest(clone))
    assert said.exit_code == 0, said.output or said.exception
    (line,) = [line for line in said.stderr.splitlines() if line.startswith("evaluation: ")]
    assert line.startswith("evaluation: done again, since this changed: ")
    assert line.endswith("the code of metric `exact_match`")
    _, release = latest(clone)
    assert release.metrics == {"exact_match": 1.0}
    assert before["metrics"]["exact_match"]["values"]["candidate"] < 1.0


def test_what_is_asked_otherwise_is_asked_again_without_training(
    clone: Workshop, untrained: pytest.MonkeyPatch
) -> None:
    said = clone.build(manifest(clone), "--set", "evaluate.max_new_tokens=3")
    assert said.exit_code == 0, said.output or said.exception
    assert "answers: done again, since this changed: `evaluate.max_new_tokens`" in said.stderr
    assert "conversion: reused from " in said.stdout
    metric = ["--set", 'evaluate.metrics=["perplexity"]', "--set", "evaluate.gates=[]"]
    scored = clone.json(manifest(clone), *metric)
    assert set(scored["reused"]) == {"train", "convert"}  # no likelihood was asked for before
    found = scored["report"]["metrics"]["perplexity"]["values"]
    assert found["candidate"] > 1.0
    resampled = clone.json(manifest(clone), *metric, "--set", "evaluate.bootstrap_samples=250")
    assert set(resampled["reused"]) == {"train", "convert", "ask"}
    assert resampled["report"]["metrics"]["perplexity"]["values"] == found


def test_other_rows_are_trained_on(clone: Workshop, untrained: pytest.MonkeyPatch) -> None:
    """What the fixture forbids does happen where it must."""
    result = clone.build(manifest(clone), "--set", "data.limit=20")
    assert "it was trained again" in str(result.exception)


def test_a_clone_in_another_folder_has_equal_digests(
    clone: Workshop, tmp_path: Path, unasked: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere" / "deep"
    shutil.copytree(clone.folder, other, ignore=shutil.ignore_patterns("home"))
    homes = [clone.home, tmp_path / "home"]
    plans = []
    for folder, home in zip([clone.folder, other], homes, strict=True):
        app = App(Settings.from_environment({"ADAPTERS_HOME": str(home), "ADAPTERS_USER": "x"}))
        result = CliRunner().invoke(plan, [str(folder / "lora.toml"), "--json"], obj=app)
        assert result.exit_code == 0, result.output or result.exception
        plans.append(json.loads(result.stdout))
        assert str(folder) not in result.stdout
    assert plans[0]["digests"] == plans[1]["digests"]
    assert plans[0]["release"] is not None
    # A build from the other clone in the same home is a no-op.
    built = CliRunner().invoke(build, [str(other / "lora.toml"), "--json"], obj=clone.app)
    assert json.loads(built.stdout)["created"] is False


def test_nothing_of_a_release_tells_where_or_by_whom_it_was_built(clone: Workshop) -> None:
    registry = clone.registry()
    places = {str(path) for path in (clone.folder, clone.home, Path.home(), Path.home().resolve())}
    names = {getpass.getuser(), socket.gethostname()}
    secret = re.compile(
        "|".join(
            [*map(re.escape, places), *(rf"(?<![\w./-]){re.escape(n)}(?![\w./-])" for n in names)]
        )
    )
    for row in registry.versions("tiny"):
        release = registry.release(row.digest)
        files = {path: registry.read(row.digest, path) for path in release.files}
        for path, data in {**files, "record": release.to_bytes()}.items():
            if not path.endswith((".safetensors", ".png")):
                found = secret.search(data.decode())
                assert found is None, f"{path} of tiny@{row.version} has `{found and found[0]}`"
            assert not [place for place in places if place.encode() in data], path
        assert release.base.model == "base"


def test_an_author_is_named_only_if_someone_said_so(clone: Workshop, tmp_path: Path) -> None:
    settings = Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)})
    assert (settings.who, settings.author) == (getpass.getuser(), "unnamed")


@pytest.mark.slow
def test_a_release_is_rebuilt_from_files_that_are_found_or_named(
    clone: Workshop, tmp_path: Path
) -> None:
    def rebuilt(*arguments: str) -> Any:
        return clone.invoke(verify, "tiny@1", "--rebuild", *arguments)

    assert "equal to the bit" in rebuilt().stdout  # where the build saw them
    places = clone.home / "cache" / "places.json"
    kept = places.read_text()
    places.unlink()
    unknown = rebuilt()
    assert isinstance(unknown.exception, NotFound)
    assert "`tiny@1` was built from `train.jsonl`" in unknown.exception.message
    assert "--data-dir" in str(unknown.exception.hint)
    assert "equal to the bit" in rebuilt("--data-dir", str(clone.folder)).stdout
    places.write_text(kept)
    for name in ("train", "validation", "test"):
        shutil.copy(clone.folder / f"{name}.jsonl", tmp_path)
    (tmp_path / "train.jsonl").write_text("{}\n")
    other = rebuilt("--data-dir", str(tmp_path))
    assert isinstance(other.exception, IntegrityError)
    assert "`train.jsonl` is not the file that `tiny@1` was built from" in other.exception.message


def test_an_alias_that_is_asked_for_moves_to_a_release_that_is_there(
    clone: Workshop, unasked: pytest.MonkeyPatch
) -> None:
    """A gate that failed holds it back as it did then."""
    refused = clone.json(manifest(clone), "--alias", "blue")
    assert (refused["created"], refused["alias"]) == (False, None)
    assert "gain over base" in refused["reasons"][0]
    loose = ["--set", 'evaluate.gates=[{metric="exact_match", min_gain=-1.0}]']
    built = clone.json(manifest(clone), *loose)
    for _ in range(2):
        named = clone.json(manifest(clone), *loose, "--alias", "green")
        assert (named["ref"], named["created"], named["alias"]) == (built["ref"], False, "green")
    moves = clone.registry().history("tiny", "green")
    assert len(moves) == 1


def test_paths_of_this_machine_are_told_by_their_last_part(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Absolute ones, in every key that holds a path, of a method that writes a whole model."""
    folder = tmp_path_factory.mktemp("secret-place")
    workshop = Workshop(folder, make_tiny_base(folder / "base"))
    (folder / "words.json").write_text('[["code", "number"]]')
    (folder / "accelerate.yaml").write_text(CONFIG)
    absolute = [
        "--set",
        f'data.train="{folder}/train.jsonl"',
        "--set",
        f'data.mix=[{{source="{folder}/validation.jsonl"}}]',
        "--set",
        f'data.augment={{lexicon="{folder}/words.json", share=0.5}}',
        "--set",
        f'train.accelerate_config="{folder}/accelerate.yaml"',
    ]
    built = workshop.json(workshop.manifest("full", epochs=1), *absolute)
    registry = workshop.registry()
    release = registry.release(built["digest"])
    for path in release.files:
        assert b"secret-place" not in registry.read(built["digest"], path), path
    assert b"secret-place" not in release.to_bytes()
    assert release.manifest is not None
    assert release.manifest["data"]["train"] == "train.jsonl"
    assert release.manifest["train"]["accelerate_config"] == "accelerate.yaml"
    lock = json.loads(registry.read(built["digest"], "adapter.lock"))
    assert set(lock["data"]["files"]) == {"train.accelerate_config", "data.augment.lexicon"}


def test_a_release_of_older_code_is_trained_once_more_and_said_so(
    clone: Workshop, untrained: pytest.MonkeyPatch
) -> None:
    registry = clone.registry()
    (row, *_) = registry.versions("tiny", limit=1)
    release = registry.release(row.digest)
    old = release.model_copy(update={"name": "old", "digests": {}, "parents": ()})
    untrained.setattr(type(registry.origins), "find_stages", lambda *_: [])
    untrained.setattr(
        type(registry), "versions", lambda self, name, limit: [replace(row, name="old")]
    )
    untrained.setattr(type(registry), "release", lambda self, digest: old)
    result = clone.build(manifest(clone), "--set", 'adapter.name="old"')
    assert "it was trained again" in str(result.exception)
    assert f"note: old@{row.version} was published by a version of adapterworks" in result.stderr


@pytest.mark.slow
def test_bytes_that_are_gone_are_taken_from_an_older_release_or_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_base(tmp_path / "base")
    workshop = Workshop(tmp_path, "./base")
    path = workshop.manifest(epochs=1)
    workshop.json(path)
    monkeypatch.setattr(sequence, "train_stage", _fail)
    tagged = ("--set", "evaluate.bootstrap_samples=300")
    registry = workshop.registry()
    second = registry.release(workshop.json(path, *tagged)["digest"])

    # An unchanged plan still names its release; whether its gates passed is not known any more.
    registry.upkeep.erase(second.files["report.json"].digest, who="t", why="a name stood in it")
    named = workshop.json(path, *tagged, "--alias", "staging")
    assert (named["ref"], named["alias"], named["report"]) == ("tiny@2", None, {})
    assert "whether its gates passed is not known" in named["reasons"][0]
    assert workshop.build(path, *tagged).exit_code == 0

    other = workshop.json(path, "--set", 'adapter.tags=["c"]')
    assert set(other["reused"].values()) == {"tiny@1"}
    for row in registry.versions("tiny"):
        blob = registry.release(row.digest).files["training.jsonl"].digest
        registry.upkeep.erase(blob, who="t", why="a name stood in it")
    result = workshop.build(path, "--set", 'adapter.tags=["d"]')
    assert "it was trained again" in str(result.exception)
    assert "tiny@3 has this training, but not `training.jsonl`, erased or wit" in result.stderr


def test_a_build_that_waited_for_its_twin_names_what_that_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found no release of the plan; one holds the lock of the folder, the other waits."""
    make_tiny_base(tmp_path / "base")
    workshop = Workshop(tmp_path, "./base")
    path = workshop.manifest(epochs=1)
    lock = run.build_lock

    def waited(folder: Path) -> Any:
        monkeypatch.setattr(run, "build_lock", lock)
        assert workshop.json(path)["ref"] == "tiny@1"
        return lock(folder)

    monkeypatch.setattr(run, "build_lock", waited)
    second = workshop.json(path)
    assert (second["ref"], second["created"]) == ("tiny@1", False)
    assert [row.version for row in workshop.registry().versions("tiny")] == [1]


@pytest.mark.slow
def test_killed_while_it_writes_answers_it_goes_on_from_those_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took a release's answers and dies while it writes those that it judged again."""
    make_tiny_base(tmp_path / "base")
    workshop = Workshop(tmp_path, "./base")
    path = workshop.manifest(epochs=1)
    workshop.json(path)
    other = ("--set", "evaluate.bootstrap_samples=300")

    class Killed(BaseException):
        pass

    write = Path.write_text

    def killed(self: Path, text: str, *given: Any, **named: Any) -> int:
        if "predictions" not in self.name:
            return write(self, text, *given, **named)
        write(self, text[: len(text) // 2], *given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", killed)
        with pytest.raises(Killed):
            workshop.build(path, *other)
    monkeypatch.setattr(sequence, "train_stage", _fail)
    monkeypatch.setattr(sequence, "evaluate_stage", _fail)
    assert workshop.json(path, *other)["ref"] == "tiny@2"


@pytest.mark.slow
def test_gates_are_judged_by_the_prod_of_the_day_that_a_build_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_base(tmp_path / "base")
    workshop = Workshop(tmp_path, "./base")
    path, registry = workshop.manifest(epochs=1), workshop.registry()
    workshop.json(path)
    second = workshop.json(path, "--set", 'adapter.tags=["b"]')
    registry.promote("tiny", 1, "prod", who="tester")
    gate = '\n[[evaluate.gates]]\nmetric = "exact_match"\nagainst = "prod"\nmin_gain = -1.0\n'
    gated = workshop.manifest(epochs=2, more=gate)
    with monkeypatch.context() as patch:
        patch.setattr(sequence, "fingerprint_stage", _fail)
        assert isinstance(workshop.build(gated).exception, AssertionError)
    registry.promote("tiny", 2, "prod", who="tester")
    monkeypatch.setattr(sequence, "train_stage", _fail)
    third = workshop.json(gated)
    lock = json.loads(registry.read(third["digest"], "adapter.lock"))
    assert lock["prod"] == second["digest"]


def _fail(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was trained again")
