"""What a job of the fine-tuning API declares: a manifest that is valid, of its own objective."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.objectives.objective import objective_of
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.jobs.fine_tuning import Asked, Rows, check_template, manifest_values
from adapterworks.registry.jobs.toml import to_toml


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


def test_a_template_does_not_say_what_is_learnt() -> None:
    with pytest.raises(InvalidInput, match="`objective` is each job's own"):
        check_template({"objective": {"kind": "orpo"}})
