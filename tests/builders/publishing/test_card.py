"""A card says what was measured, and how, and nothing beyond it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.publishing.card import make_card
from tests.builders.build_support import manifest_for


def plan(method: str = "lora", **more: Any) -> Any:
    values = {
        "manifest": manifest_for(method),
        "base": SimpleNamespace(model="tiny", revision="main", quantization="none"),
        "stage": "supervised",
        "trainable": 10,
        "trainable_share": 0.1,
        "learning_rate": 1e-3,
        "learning_rate_source": "manifest",
        "warmup_steps": 0,
        "precision": "fp32",
        "device": "cpu",
        "digest": "sha256:1",
        "code": {"version": "1"},
        "start": None,
        "teacher": None,
        "packed_to": None,
        "extensions": (),
        "rows": {"train": 8},
    }
    return SimpleNamespace(**values | more)


def entry(test: str, unit: str = "share") -> dict[str, Any]:
    return {
        "unit": unit,
        "values": {"base": 0.1, "candidate": 0.5},
        "gains": {"base": {"gain": 0.4, "low": 0.1, "high": 0.7, "test": test}},
    }


def card(of: Any = None, gates: Any = (), training: Any = None, **metrics: Any) -> str:
    told = {"steps": 9, "best_step": 6, "tokens_per_second": 1.0, "best_value": 0.3}
    memory = {"memory": {"measured": 0, "predicted": 0}}
    report = {
        "rows": 20,
        "metrics": metrics,
        "training": told | memory | (training or {}),
        "conversion": {"refused": "x"},
        "data_gates": gates,
    }
    return make_card(of or plan(), report, None, [], ())


def gate(rows: int, action: str) -> list[dict[str, Any]]:
    return [{"name": "contamination", "rows": rows, "action": action}]


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ((), "no data gate looked whether they were seen in training"),
        (gate(0, "warn"), "`contamination` found none of their questions in training"),
        (gate(3, "warn"), "questions of 3 validation and test rows in training, and let them"),
        (gate(3, "drop"), "questions of 3 validation and test rows in training, and left them"),
    ],
)
def test_whether_test_rows_were_seen_is_said_as_far_as_anything_looked(
    gates: Any, said: str
) -> None:
    text = card(gates=gates, exact_match=entry("mcnemar"))
    assert said in text
    assert "unseen" not in text


def test_how_intervals_were_come_by_is_said_of_each_kind() -> None:
    said = "95 % intervals of the paired gains: "
    assert said + "Student's on the rows' differences.\n" in card(a=entry("mcnemar"))
    assert said + "by bootstrap for b.\n" in card(b=entry("bootstrap", "ppl"))
    both = card(a=entry("student"), b=entry("bootstrap"))
    assert said + "Student's on the rows' differences, by bootstrap for b.\n" in both


def test_a_picture_that_shows_nothing_is_left_out() -> None:
    assert "plots/scores.png" in card(a=entry("student"))
    assert "plots/scores.png" not in card(a=entry("bootstrap", "ppl"))
    assert "plots/scores.png" not in card()
    assert "Not evaluated: there were no test rows." in card()


def test_what_a_step_learns_from_and_why_its_weights_were_kept() -> None:
    batch = manifest_for("lora").train.batch_size
    of_rows = f"9 steps of {batch} rows, weights of step 6, the best by loss of the validation rows"
    assert of_rows in card()
    assert f"{batch} packed sequences" in card(plan(packed_to=64))
    assert "the last that was saved, as there were no validation rows" in card(
        training={"best_value": None}
    )


def test_a_whole_model_is_no_adapter_of_peft() -> None:
    assert 'library_name: "peft"' in card()
    assert 'library_name: "transformers"' in card(plan("full"))
