"""What is unusual about a training, each bound from both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.builders.methods import METHODS
from adapterworks.builders.plan.lints import training_lints
from adapterworks.manifests.models import Manifest
from tests.builders.build_support import manifest_for


def lints(
    *, rows: int = 1000, steps: int = 100, device: str = "cpu", kind: str = "lora", **train: Any
) -> dict[str, str]:
    """Key → message; with `data_format`, of rows in that format."""
    format = train.pop("data_format", "messages")
    manifest = manifest_for(kind, **train)
    data = manifest.data.model_copy(update={"format": format})
    manifest = manifest.model_copy(update={"data": data})
    found = [*training_lints(manifest, METHODS[kind], rows=rows, steps=steps, device=device)]
    assert all(lint.source for lint in found)
    assert len({lint.key for lint in found}) == len(found)
    return {lint.key: lint.message for lint in found}


def test_nothing_is_unusual_about_the_usual() -> None:
    assert lints() == {}
    assert lints(epochs=10, max_steps=600) == {}, "it ends after 4.8"
    assert lints(epochs=5.0, rows=200, steps=10, learning_rate=2e-4) == {}


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"learning_rate": 2.1e-3}, "train.learning_rate",
         "0.0021 is 10× the usual 0.0002 of `lora`"),
        ({"learning_rate": 1.9e-5}, "train.learning_rate",
         "1.9e-05 is 0.095× the usual 0.0002 of `lora`"),
        ({"epochs": 5.1}, "train.epochs",
         "5.1 epochs over 1000 rows; 1 to 3 is usual, more memorizes"),
        ({"epochs": 10, "max_steps": 750}, "train.epochs",
         "6 epochs over 1000 rows; 1 to 3 is usual, more memorizes"),
        ({"rows": 199}, "data.train", "199 rows are few"),
        ({"steps": 9}, "train.epochs",
         "9 optimizer steps are few; the schedule hardly begins"),
        ({"loss_on": "all"}, "train.loss_on", "the loss covers the questions too"),
        ({"precision": "bf16"}, "train.precision",
         "bfloat16 on this CPU is slower than float32 without AMX or AVX512-BF16"),
        ({"batch_size": 129}, "train.batch_size",
         "LoRA falls behind full fine-tuning at large batches (129)"),
    ],
)  # fmt: skip
def test_each_unusual_choice_is_said_alone(changes: dict[str, Any], key: str, message: str) -> None:
    assert lints(**changes) == {key: message}


def test_learning_rates_within_ten_times_are_usual() -> None:
    usual = METHODS["full"].learning_rate.value
    assert lints(kind="full", learning_rate=usual * 10) == {}
    assert lints(kind="full", learning_rate=usual / 8) == {}
    assert lints(learning_rate=2e-5) == {}, "a tenth of LoRA's 2e-4, to the last bit"


def test_few_rows_and_a_whole_loss_are_ordinary_for_plain_text() -> None:
    assert lints(data_format="text", rows=10, loss_on="all") == {}


def test_half_precision_on_a_gpu_is_ordinary() -> None:
    assert lints(precision="bf16", device="cuda") == {}
    assert lints(precision="fp32") == {}


def test_few_test_rows_under_a_gate_are_unusual() -> None:
    gated = manifest_for("lora").model_dump(mode="json")
    gated["evaluate"]["gates"] = [{"metric": "exact_match"}]
    gated["data"]["test"] = "icd-10-cm:test"
    manifest = Manifest.model_validate_json(json.dumps(gated))

    def found(manifest: Manifest, test: int) -> list[str]:
        lints = training_lints(
            manifest, METHODS["lora"], rows=1000, steps=100, device="cpu", test=test
        )
        return [lint.message for lint in lints if lint.key == "data.test"]

    assert found(manifest, 100) == []
    assert found(manifest_for("lora"), 9) == [], "nothing is decided by them"
    (few,) = found(manifest, 98)
    assert few.startswith("98 test rows are few: at 95 % a gain shows from about 20 points on")
