"""Rows that begin alike are computed with the shared tokens once: less work, the same training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.objectives.batch import behind_shared, padded
from adapterworks.builders.training.batches import load_encoded
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.shared_prefix import computes_alike
from tests.builders.build_support import KINDS, SHARED, TinyJob

pytestmark = pytest.mark.train
Make = Callable[..., TinyJob]


def events_of(job: TinyJob, name: str) -> list[dict[str, Any]]:
    events = read_events(job.folder / "events.jsonl")
    return [dict(event) for event in events if event["event"] == name]


@pytest.mark.parametrize(
    ("kind", "checkpointing"),
    [*((kind, False) for kind in KINDS), ("lora", True), ("full", True)],
)
def test_losses_and_gradients_are_those_of_padded_rows(
    job: Make, kind: str, checkpointing: bool
) -> None:
    """Step by step over a whole training: a wrong gradient would part them at the second step."""
    common = {"epochs": 2.0, "gradient_checkpointing": checkpointing, "learning_rate": 5e-3}
    padded = job(kind, "padded", share_prefix=False, **common)
    shared = job(kind, "shared", **common)
    padded.run()
    shared.run()
    assert events_of(padded, "shared_prefix") == []
    assert [event["used"] for event in events_of(shared, "shared_prefix")] == [True]
    for name in ("loss", "gradient_norm"):
        first = [event[name] for event in events_of(padded, "step")]
        second = [event[name] for event in events_of(shared, "step")]
        assert second == pytest.approx(first, rel=2e-3), name
    last = [events_of(one, "validation")[-1]["loss"] for one in (padded, shared)]
    assert last[1] == pytest.approx(last[0], rel=2e-3)


def test_shared_tokens_are_there_once_and_nothing_is_padded(job: Make) -> None:
    rows = load_encoded(job("lora").folder / "encoded.safetensors")["train"]
    chosen = [0, 1, 2, 3]
    sequences = [sequence for (sequence,) in rows.chosen(chosen)]
    batch = behind_shared(sequences)
    shared = 1 + len(SHARED)
    lengths = [rows.lengths[index] for index in chosen]
    assert batch.input_ids.shape == (1, shared + sum(length - shared for length in lengths))
    apart = padded(sequences, 1)
    assert int((batch.labels != IGNORED).sum()) == int((apart.labels != IGNORED).sum())


def test_a_model_that_ignores_the_mask_is_found_out(job: Make) -> None:
    """Then rows are padded as before, rather than one row learning from another."""
    trainer = job("lora").trainer()

    class Blind(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = trainer.bare

        def forward(self, **inputs: Any) -> Any:
            if inputs["attention_mask"].dim() == 4:
                inputs["attention_mask"] = None
            return self.inner(**inputs)

    rows = [sequence for (sequence,) in trainer.rows["train"].chosen([0, 1, 2])]
    assert computes_alike(trainer.bare, rows, pad=1, precision="fp32")
    assert not computes_alike(Blind(), rows, pad=1, precision="fp32")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("lora", {"method": {"dropout": 0.1}}),
        ("lora", {"packing": True, "group_by_length": False}),
        ("prompt-tuning", {"gradient_checkpointing": True}),
        ("lora", {"share_prefix": False}),
    ],
)
def test_where_it_can_not_be_had_the_plan_says_so(
    job: Make, kind: str, changes: dict[str, Any]
) -> None:
    assert job(kind, **changes).plan.shared_prefix == 0
    assert job("lora", "with").plan.shared_prefix == 1 + len(SHARED)


@pytest.mark.parametrize(
    ("ids", "labels", "expected"),
    [
        ([[1, 2, 3, 4], [1, 2, 5, 6]], [[-100] * 3 + [4], [-100] * 3 + [6]], 2),
        # The token ahead of the first label predicts it, so it belongs to its row.
        ([[1, 2, 3, 4], [1, 2, 3, 5]], [[-100] * 3 + [4], [-100] * 3 + [5]], 2),
        ([[1, 2, 3], [1, 2, 3]], [[-100, 2, 3], [-100, 2, 3]], 0),
        ([[1, 2], [1, 2, 3, 4]], [[-100] * 2, [-100] * 4], 1),
        ([[1, 2], [2, 2]], [[-100, 2], [-100, 2]], 0),
    ],
)
def test_common_prefix(ids: list[list[int]], labels: list[list[int]], expected: int) -> None:
    assert common_prefix(ids, labels) == expected


def test_asking_the_model_leaves_no_trace(job: Make) -> None:
    """Resume was not exact on a base with dropout: the generator had been restored, then used."""
    trainer = job("lora").trainer()
    rows = [sequence for (sequence,) in trainer.rows["train"].chosen([0, 1, 2])]
    for module in trainer.bare.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5  # it draws, and would tell the two ways apart
    modes = [module.training for module in trainer.bare.modules()]
    assert any(modes)
    before = torch.get_rng_state()
    assert computes_alike(trainer.bare, rows, pad=1, precision="fp32")
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in trainer.bare.modules()] == modes


def test_resume_is_exact_on_a_base_with_dropout(job: Make, tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "dropping"
    shutil.copytree(tiny, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.1}))
    whole, part = (replace(job("lora", name), base=base) for name in ("whole", "part"))
    whole.run()
    part.trainer().run(until=part.plan.evaluate_every)
    part.run()
    assert [event["used"] for event in events_of(part, "shared_prefix")] == [True, True]
    for name, tensor in whole.adapter().items():
        assert torch.equal(tensor, part.adapter()[name]), name
