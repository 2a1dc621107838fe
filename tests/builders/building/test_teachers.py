"""Who teaches a build: found by ref or name, of one vocabulary, counted, and told in the record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.rebuilding.rebuild import rebuild
from adapterworks.cli.plan import command as plan
from adapterworks.cli.samples import command as samples
from adapterworks.registry.bases.store import BaseStore
from tests.builders.workshop import Workshop

SYSTEM = 'kind = "distill"\nteacher = "base"\nteacher_system = "All codes are A1."'


def student(workshop: Workshop, table: str, kind: str = "lora", name: str = "student") -> str:
    """A manifest of a training with a teacher."""
    more = f"[objective]\n{table}\nmax_completion = 4\n"
    path = Path(workshop.manifest(kind, epochs=1, rate=1e-3 if kind == "full" else 5e-3, more=more))
    target = workshop.folder / f"{name}.toml"
    target.write_text(path.read_text().replace('name = "tiny"', f'name = "{name}"'))
    return str(target)


def planned(workshop: Workshop, path: str) -> dict[str, Any]:
    made = workshop.invoke(plan, path, "--json")
    assert made.exit_code == 0, made.output or made.exception
    found: dict[str, Any] = json.loads(made.stdout)
    return found


def refused(workshop: Workshop, path: str) -> str:
    made = workshop.invoke(plan, path)
    assert made.exit_code != 0
    return str(made.exception)


def origins(workshop: Workshop, digest: str) -> dict[str, Any]:
    lock = json.loads(workshop.registry().read(digest, "adapter.lock"))
    found: dict[str, Any] = lock["origins"]
    return found


def grown(base: Path, target: Path, **changes: int) -> Path:
    """A base of the same tokenizer and other sizes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base)
    for key, value in changes.items():
        setattr(config, key, value)
    AutoModelForCausalLM.from_config(config).save_pretrained(target)
    for file in base.glob("*"):
        if not (target / file.name).exists() and "safetensors" not in file.name:
            shutil.copyfile(file, target / file.name)
    return target


@pytest.mark.train
def test_a_release_teaches_and_the_record_says_so(workshop: Workshop) -> None:
    """From the manifest to the lineage; what it answered is there to be looked at."""
    teacher = workshop.json(workshop.manifest(epochs=2))
    path = student(workshop, 'kind = "distill"\nteacher = "tiny@1"')
    before = planned(workshop, path)
    assert before["teacher"] == teacher["digest"]
    assert "held" not in before["memory"], "it stands in the policy's place"
    built = workshop.json(path)
    training = built["report"]["training"]
    assert (training["reported"], training["unit"]) == ("loss", "nats a token")
    assert training["best_value"] > 0
    registry = workshop.registry()
    release = registry.release(built["digest"])
    assert release.provenance.objective == "distill"
    told = [(one.relation, one.digest, one.ref) for one in release.parents]
    assert told == [("teacher", teacher["digest"], "tiny@1")]
    assert origins(workshop, built["digest"]) == {"teacher": teacher["digest"]}
    shown = workshop.invoke(samples, "student", "--last", "2")
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("step ")
    card = registry.read(built["digest"], "README.md").decode()
    assert "- taught by tiny@1" in card
    assert "plots/samples.png" in card
    other = workshop.json(workshop.manifest(epochs=1))
    assert other["digest"] != teacher["digest"]
    after = planned(workshop, student(workshop, 'kind = "distill"\nteacher = "tiny@2"'))
    assert after["digests"]["train"] != before["digests"]["train"]


@pytest.mark.slow
@pytest.mark.train
def test_a_rebuild_is_taught_by_the_release_of_that_time(workshop: Workshop) -> None:
    workshop.json(workshop.manifest(epochs=1))
    built = workshop.json(student(workshop, 'kind = "distill"\nteacher = "tiny:candidate"'))
    later = workshop.json(workshop.manifest(epochs=2))
    assert workshop.registry().resolve("tiny:candidate").digest == later["digest"]
    result = rebuild(
        built["ref"],
        registry=workshop.registry(),
        bases=BaseStore(workshop.home / "bases"),
        home=workshop.home,
    )
    assert result.weights.bit_equal


@pytest.mark.train
@pytest.mark.parametrize(
    "table",
    [
        pytest.param(SYSTEM, id="base"),
        pytest.param('kind = "sdft"', id="average"),
        pytest.param('kind = "sdft"\nteacher_rate = 1.0', id="live", marks=pytest.mark.slow),
    ],
)
def test_a_model_teaches_itself(workshop: Workshop, table: str) -> None:
    path = student(workshop, table)
    found = planned(workshop, path)
    held = 4 * found["trainable"] if table == 'kind = "sdft"' else None
    assert found["memory"].get("held") == held
    built = workshop.json(path)
    assert built["report"]["training"]["train_loss"] > 0
    expected = {"teacher": "base"} if table == SYSTEM else {}
    assert origins(workshop, built["digest"]) == expected
    assert workshop.registry().release(built["digest"]).parents == ()


@pytest.mark.train
def test_another_base_teaches_and_is_counted(workshop: Workshop, tiny: Path) -> None:
    big = grown(tiny, workshop.folder / "big", num_hidden_layers=3, hidden_size=96, vocab_size=300)
    added = workshop.app.bases.add("big", str(big))
    path = student(workshop, f'kind = "distill"\nteacher_base = "{added.name}"')
    found = planned(workshop, path)
    base = workshop.app.bases.ensure("big")
    assert found["teacher"] == base.digest
    from transformers import AutoModelForCausalLM

    weights = AutoModelForCausalLM.from_pretrained(big).num_parameters()
    assert found["memory"]["held"] == 4 * weights
    built = workshop.json(path)
    assert built["report"]["training"]["train_loss"] > 0
    assert origins(workshop, built["digest"]) == {"teacher": base.digest}
    whole = planned(workshop, student(workshop, SYSTEM, "full", "whole"))
    assert whole["memory"]["held"] == 4 * whole["parameters"], "a second time in memory"


def test_a_teacher_of_other_words_is_refused(workshop: Workshop, tiny: Path) -> None:
    """Also where its vocabulary is as large."""
    odd = workshop.folder / "odd"
    shutil.copytree(tiny, odd)
    text = (odd / "tokenizer.json").read_text()
    values = json.loads(text)
    words = values["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    (odd / "tokenizer.json").write_text(json.dumps(values))
    workshop.app.bases.add("odd", str(odd))
    said = refused(workshop, student(workshop, 'kind = "distill"\nteacher_base = "odd"'))
    assert "`odd` cannot teach this base: 2 tokens differ, " in said


def test_a_teacher_without_room_is_refused(workshop: Workshop, tiny: Path) -> None:
    grown(tiny, workshop.folder / "short", max_position_embeddings=24)
    workshop.app.bases.add("short", str(workshop.folder / "short"))
    said = refused(workshop, student(workshop, 'kind = "distill"\nteacher_base = "short"'))
    assert "its base has 24 positions" in said


def test_a_teacher_that_is_not_there_is_refused(workshop: Workshop) -> None:
    said = refused(workshop, student(workshop, 'kind = "distill"\nteacher = "nobody@1"'))
    assert "nobody" in said
    said = refused(workshop, student(workshop, 'kind = "distill"\nteacher_base = "nobody"'))
    assert "nobody" in said


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize(
    ("teacher", "pupil"), [("full", "lora"), ("lora", "full"), ("ia3", "lora")]
)
def test_other_kinds_teach_as_models_of_their_own(
    workshop: Workshop, teacher: str, pupil: str
) -> None:
    workshop.json(workshop.manifest(teacher, epochs=1, rate=1e-3))
    path = student(workshop, 'kind = "distill"\nteacher = "tiny@1"', pupil)
    found = planned(workshop, path)
    assert found["memory"]["held"] >= 4 * found["parameters"]
    built = workshop.json(path)
    assert built["report"]["training"]["train_loss"] > 0
    (parent,) = workshop.registry().release(built["digest"]).parents
    assert parent.relation == "teacher"


@pytest.mark.slow
@pytest.mark.train
def test_a_release_on_another_base_teaches(workshop: Workshop, tiny: Path) -> None:
    """An adapter of a larger base of the same tokenizer."""
    big = grown(tiny, workshop.folder / "large", num_hidden_layers=3)
    other = Workshop(workshop.folder, big)
    workshop.json(other.manifest(epochs=1))
    built = workshop.json(student(workshop, 'kind = "distill"\nteacher = "tiny@1"'))
    (parent,) = workshop.registry().release(built["digest"]).parents
    assert parent.relation == "teacher"
