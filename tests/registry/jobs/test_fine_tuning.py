"""What a job of the fine-tuning API declares: a manifest that is valid, of its own objective."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.objectives.grpo import GrpoTable
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.gateway.jobs.template import read_template
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.toml import to_toml
from adapterworks.registry.jobs.fine_tuning import Asked, Rows, check_template, manifest_values


@pytest.mark.parametrize(
    ("method", "kind", "beta", "objective"),
    [("supervised", "supervised", None, "sft"), ("dpo", "paired", 0.3, "dpo")],
)
def test_a_job_is_a_manifest_of_its_objective(
    tmp_path: Path, method: str, kind: str, beta: float | None, objective: str
) -> None:
    asked = Asked(
        name="acme-tickets",
        model="m",
        base="smollm2-135m-instruct",
        quantization="none",
        base_digest="sha256:0",
        method=method,
        seed=7,
        training=Rows(file="file-1", blob="sha256:" + "a" * 64, kind=kind),
        learning_rate_multiplier=2.0,
        beta=beta,
    )
    path = tmp_path / "manifest.toml"
    path.write_text(to_toml(manifest_values(asked, lambda _: 1e-5)))
    manifest = load_manifest(path)
    assert manifest.objective.kind == objective
    assert getattr(manifest.objective, "beta", None) == beta
    assert manifest.train.learning_rate == pytest.approx(2e-5)
    assert objective_of(manifest).name == objective


GRADER = {
    "type": "string_check",
    "name": "right",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.category}}",
}


@pytest.mark.parametrize(
    ("times", "many"), [(None, None), (0.1, 2), (0.5, 4), (1.0, 8), (2.06, 16), (1000.0, 256)]
)
def test_a_job_of_reinforcement_samples_and_grades(
    tmp_path: Path, times: float | None, many: int | None
) -> None:
    asked = Asked(
        name="acme-tickets",
        model="m",
        base="smollm2-135m-instruct",
        quantization="none",
        base_digest="sha256:0",
        method="reinforcement",
        seed=7,
        training=Rows(file="file-1", blob="sha256:" + "a" * 64, kind="reinforcement"),
        compute_multiplier=times,
        grader=GRADER,
        answer="category",
        template={"evaluate": {"max_new_tokens": 12}},
    )
    path = tmp_path / "manifest.toml"
    path.write_text(to_toml(manifest_values(asked, lambda _: 1e-5)))
    manifest = load_manifest(path)
    table = manifest.objective
    assert isinstance(table, GrpoTable)
    assert [grader.model_dump(mode="json") for grader in table.graders] == [GRADER]
    assert table.generations == (many or GrpoTable.model_fields["generations"].default)
    assert table.max_completion == manifest.evaluate.max_new_tokens == 12
    assert manifest.evaluate.metrics == ("exact_match", "grader:right")
    assert manifest.evaluate.graders == table.graders
    assert manifest.data.format == "openai-reinforcement"
    assert manifest.data.columns == {"reference_answer": "category"}


def test_a_template_does_not_say_what_is_learnt() -> None:
    with pytest.raises(InvalidInput, match="`objective` is each job's own"):
        check_template({"objective": {"kind": "orpo"}})

    for objective in ({}, {"alarms": {}}, {"alarms": {"action": "warn"}}):
        check_template({"objective": objective})
    for objective in ({"alarms": {}, "kind": "grpo"}, {"beta": 0.1}, 3):
        with pytest.raises(InvalidInput, match="`objective` is each job's own"):
            check_template({"objective": objective})

    with pytest.raises(InvalidInput, match="is a distance from a reference"):
        check_template({"objective": {"alarms": {"kl": 1.0}}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[objective.alarms]\naction = 'warn'", None),
        ("[objective.alarms]\naction = 'shout'", "alarms"),
        ("[objective.alarms]\ncolour = 1", "alarms"),
        ("[objective]\nbeta = 0.1", "`objective` is each job's own"),
    ],
)
def test_what_a_template_says_of_alarms_is_looked_at_when_it_is_read(
    tmp_path: Path, text: str, words: str | None
) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(text)
    if words is None:
        assert read_template(str(path)) == {"objective": {"alarms": {"action": "warn"}}}
        return
    with pytest.raises(InvalidInput, match=words):
        read_template(str(path))


@pytest.mark.parametrize("method", ["supervised", "dpo", "reinforcement"])
def test_a_template_says_how_sampled_answers_are_watched(tmp_path: Path, method: str) -> None:
    alarms = {"action": "warn", "entropy": 0.5, "patience": 9}
    kinds = {"supervised": "supervised", "dpo": "paired", "reinforcement": "reinforcement"}
    asked = Asked(
        name="acme-tickets", model="m", base="b", quantization="none", base_digest="sha256:0",
        method=method, seed=7, template={"objective": {"alarms": alarms}},
        training=Rows(file="file-1", blob="sha256:" + "a" * 64, kind=kinds[method]),
        grader=GRADER if method == "reinforcement" else None,
    )  # fmt: skip
    path = tmp_path / "manifest.toml"
    path.write_text(to_toml(manifest_values(asked, lambda _: 1e-5)))
    table = load_manifest(path).objective
    if method == "reinforcement":
        assert isinstance(table, GrpoTable)
        assert (table.alarms.action, table.alarms.entropy, table.alarms.patience) == (
            "warn",
            0.5,
            9,
        )
    else:
        assert not hasattr(table, "alarms")


def test_a_tracker_that_the_job_names_is_not_told_by_the_template_too(tmp_path: Path) -> None:
    template = {
        "train": {
            "trackers": ["tensorboard", "mlflow"],
            "tracking": [{"tracker": "wandb", "project": "the-operators"}],
        }
    }
    asked = Asked(
        name="acme-tickets", model="m", base="b", quantization="none", base_digest="sha256:0",
        method="supervised", seed=7, template=template,
        training=Rows(file="file-1", blob="sha256:" + "a" * 64, kind="supervised"),
    )  # fmt: skip
    several = (
        {"type": "wandb", "wandb": {"project": "theirs", "name": None, "tags": None}},
        {"type": "mlflow", "mlflow": {"experiment": "an experiment"}},
    )
    found = {}
    for integrations in ((), several):
        job = asked.model_copy(update={"integrations": integrations})
        path = tmp_path / "manifest.toml"
        path.write_text(to_toml(manifest_values(job, lambda _: 1e-5)))
        train = load_manifest(path).train
        found[len(integrations)] = (
            train.trackers,
            [(one.tracker, one.project) for one in train.tracking],
        )
    assert found == {
        0: (("tensorboard", "mlflow"), [("wandb", "the-operators")]),
        2: (("tensorboard",), [("wandb", "theirs"), ("mlflow", "an experiment")]),
    }
