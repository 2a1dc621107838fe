"""The training's numbers against those kept for `TRAINING_SEMANTICS`: code that changes what comes
of equal inputs must raise the number, or releases of other numbers would count as this training.

    python -m tests.builders.training.test_semantics        # after the number was raised: keep anew
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.plan.decisions import decision, leaves
from adapterworks.builders.plan.digests import TRAINING_SEMANTICS
from adapterworks.builders.training.events import read_events
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import KINDS, make_tiny_base, manifest_for, tiny_job

pytestmark = pytest.mark.train
KEPT = Path(__file__).with_name("semantics.json")
# Sums are ordered otherwise on other processors; a changed formula is far above this.
TOLERANCE = 5e-5
USUAL = {"epochs": 1.5, "evaluations": 2, "learning_rate": 1e-2}
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {}),
    "dropout": ("lora", {"method": {"dropout": 0.1}, "micro_batch_size": 8}),
    "schedule": ("lora", {"warmup_ratio": 0.4, "schedule": "linear", "weight_decay": 0.1}),
    "clipped": ("lora", {"max_grad_norm": 0.05, "group_by_length": False}),
    "packed": ("lora", {"packing": True, "group_by_length": False}),
    "stopped early": ("lora", {"evaluations": 6, "early_stopping": 1, "learning_rate": 0.3}),
    "rslora": ("lora", {"method": {"rslora": True, "rank": 4}}),
    "rounded": ("lora", {"quantization_aware": "int4"}),
    "full": ("full", {}),
    "qlora": ("qlora", {}),
    "adalora": ("adalora", {"epochs": 3.0}),
    "dora": ("dora", {}),
    "prefix-tuning": ("prefix-tuning", {}),
    "prompt-tuning": ("prompt-tuning", {}),
    "p-tuning-v2": ("p-tuning-v2", {}),
}


def trained(base: Path, folder: Path, name: str) -> dict[str, Any]:
    """Losses of all steps and evaluations, and the sum and norm of the weights that came of it."""
    kind, changes = SETTINGS[name]
    job = tiny_job(base, folder, kind, **{**USUAL, **changes})
    result = job.run()
    events = read_events(job.folder / "events.jsonl")
    weights = [tensor.double() for _, tensor in sorted(job.adapter().items())]
    return {
        "steps": [event["loss"] for event in events if event["event"] == "step"],
        "rates": [event["learning_rate"] for event in events if event["event"] == "step"],
        "validation": [event["loss"] for event in events if event["event"] == "validation"],
        "best_step": result.best_step,
        "weights": [
            float(sum(tensor.abs().sum() for tensor in weights)),
            float(sum(tensor.square().sum() for tensor in weights)) ** 0.5,
        ],
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_numbers_are_those_of_the_semantics_number(name: str, tiny: Path, tmp_path: Path) -> None:
    kept = json.loads(KEPT.read_text())
    assert kept["semantics"] == TRAINING_SEMANTICS, f"keep anew: {__doc__}"
    found = trained(tiny, tmp_path / "job", name)
    for what, values in kept["trainings"][name].items():
        assert found[what] == pytest.approx(values, rel=TOLERANCE), (
            f"`{name}` computes other {what} than TRAINING_SEMANTICS {TRAINING_SEMANTICS} stands "
            "for: raise it in builders/plan/digests.py, and say in the changelog that adapters "
            "train once more"
        )


def defaults() -> dict[str, Any]:
    """What the keys that a stage reads are when nobody sets them: no digest has them."""
    manifests = {kind: manifest_for(kind, base="tiny").model_dump(mode="json") for kind in KINDS}
    bare = Manifest.model_validate_json(
        json.dumps(
            {
                "adapter": {"name": "tiny"},
                "base": {"model": "tiny"},
                "method": {"kind": "full"},
                "data": {"train": "rows.jsonl"},
            }
        )
    ).model_dump(mode="json")
    read = {
        key: value
        for key, value in leaves(bare)
        if key != "method" and decision(key) not in ("publish", "nothing")
    }
    return read | {f"method {kind}": values["method"] for kind, values in manifests.items()}


def test_a_changed_default_raises_the_number_too() -> None:
    kept, found = json.loads(KEPT.read_text())["defaults"], defaults()
    assert kept.keys() <= found.keys()
    for key, value in kept.items():
        now = found[key]
        if isinstance(value, dict) and isinstance(now, dict):  # a method may get further keys
            now = {name: entry for name, entry in now.items() if name in value}
        assert now == value, f"`{key}` has another default: raise its stage's number, keep anew"
    missing = found.keys() - kept.keys()
    assert not missing, f"keep the defaults of {missing} too: {__doc__}"


def test_every_setting_is_kept() -> None:
    assert sorted(json.loads(KEPT.read_text())["trainings"]) == sorted(SETTINGS)


def keep() -> None:
    """Write what is computed now; what a number stands for is never changed under it."""
    before = json.loads(KEPT.read_text()) if KEPT.exists() else {"semantics": 0, "trainings": {}}
    same = before["semantics"] == TRAINING_SEMANTICS
    with tempfile.TemporaryDirectory() as folder:
        base = make_tiny_base(Path(folder) / "tiny")
        found = {
            name: before["trainings"][name]
            if same and name in before["trainings"]
            else trained(base, Path(folder) / str(number), name)
            for number, name in enumerate(SETTINGS)
        }
    kept = before.get("defaults", {}) if same else {}
    values = {
        "semantics": TRAINING_SEMANTICS,
        "defaults": defaults() | kept,
        "trainings": found,
    }
    KEPT.write_text(json.dumps(values, indent=1) + "\n")
    print(f"kept {len(found)} trainings as semantics {TRAINING_SEMANTICS}", file=sys.stderr)


if __name__ == "__main__":
    keep()
