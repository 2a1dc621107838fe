"""`adapters eval` on a published release: from a ref to report, predictions and exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model

from adapterworks.app import App
from adapterworks.builders.engines.huggingface import load_model
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.cli.main import cli
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import (
    AdapterTable,
    BaseTable,
    DataTable,
    EvaluateTable,
    Manifest,
    QualityGate,
)
from adapterworks.registry.bases.store import Base
from adapterworks.registry.releases.release import Draft

MANIFEST = Manifest(
    adapter=AdapterTable(name="medical"),
    base=BaseTable(model="smollm2-135m-instruct"),
    method=LoraTable(kind="lora", rank=2),
    data=DataTable(train="icd-10-cm:train", test="icd-10-cm:test"),
    evaluate=EvaluateTable(
        metrics=("icd_category", "perplexity"),
        gates=(QualityGate(metric="perplexity", min_gain=1.0),),
        max_new_tokens=2,
        bootstrap_samples=100,
    ),
)


def publish(app: App, base: Base, folder: Path) -> None:
    """A LoRA that was never trained: it answers as its base, so it gains nothing."""
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(load_model(base.served), config).save_pretrained(folder / "adapter")
    draft = Draft(
        name="medical",
        method="lora",
        created="2026-01-01T00:00:00.000000Z",
        created_by="tester",
        base=base.identity,
        servable=None,
        manifest=MANIFEST.model_dump(mode="json"),
    )
    app.registry.publish(folder, draft, who="tester")


@pytest.mark.usefixtures("home")
def test_a_release_is_evaluated_from_its_ref(base: Base, tmp_path: Path) -> None:
    app = App()
    publish(app, base, tmp_path / "release")
    lines = tmp_path / "predictions.jsonl"
    arguments = ["eval", "medical@1", "--limit", "3", "--predictions", str(lines), "--check"]
    result = CliRunner().invoke(cli, [*arguments, "--json"], obj=app)
    assert isinstance(result.exception, Refused)  # --check: the gate asks for a gain
    assert "perplexity: gain over base +0.00 ppl, at 95% at least +0.00 ppl" in str(
        result.exception
    )
    report = json.loads(result.stdout)
    assert report["rows"] == 3
    assert report["subjects"] == ["base", "candidate"]
    values = report["metrics"]["perplexity"]["values"]
    assert values["candidate"] == pytest.approx(values["base"], rel=1e-4)
    assert [gate["passed"] for gate in report["gates"]] == [False]
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 3
    app.registry.close()
