"""SFT computes what it computed before there were objectives: `sft_losses.json` against now.

The numbers are float32 and were recorded on one machine, where they are met to 1e-6. Another
processor adds in another order, and a training carries that on from step to step: on one the losses
were the same to 7e-7 at every step and the norms of the first eight gradients to 4e-7, but later
norms differed by up to 6.4e-5 of themselves (LoRA) and 5.8e-4 (QLoRA). A defect of the arithmetic
moves them by 1e-3 and more, so the bounds lie between.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan import fitted
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.plan import make_plan
from adapterworks.builders.training.arithmetic import Divergence
from adapterworks.builders.training.batches import load_encoded, save_encoded
from adapterworks.builders.training.events import EventLog
from adapterworks.builders.training.loop import Trainer
from tests.builders.build_support import ENVIRONMENT, MACHINE, identity, manifest_for
from tests.builders.training.sft_settings import (
    COMMON,
    ROWS,
    SETTINGS,
    STEPS,
    VALIDATION,
    rows,
)

pytestmark = pytest.mark.train
SAME = 1e-5  # relative
NORMS = "gradient_norm"
EARLY = 8
CARRIED_ON = {"qlora": 1e-3}  # relative, of the norms of later steps
CARRIED_ON_ELSE = 2e-4
KEPT: dict[str, Any] = json.loads(
    Path(__file__).with_name("sft_losses.json").read_text(encoding="utf-8")
)["settings"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_losses_and_gradients_of_the_first_steps_are_what_they_were(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    kind, of, changes = SETTINGS[setting]
    manifest = manifest_for(kind, **{**COMMON, **changes})
    objective = objective_of(manifest)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    train = manifest.train
    splits = {
        name: objective.encode(tokenizer, given, train.max_length, train.loss_on)
        for name, given in (("train", rows(of, ROWS)), ("validation", rows(of, VALIDATION, 500)))
    }
    save_encoded(tmp_path / "encoded.safetensors", splits)
    sequences = [sequence for example in splits["train"] for sequence in example.sequences]
    facts = DataFacts(
        rows={"train": ROWS, "validation": VALIDATION, "test": 0},
        digests={"train": "sha256:1", "validation": "sha256:2", "test": "sha256:3"},
        lengths=tuple(example.tokens for example in splits["train"]),
        supervised=tuple(example.supervised for example in splits["train"]),
        shared=common_prefix([s.input_ids for s in sequences], [s.labels for s in sequences]),
    )
    # Then, what was shared was always computed once.
    monkeypatch.setattr(fitted, "sharing_pays", lambda *_: True)
    plan = make_plan(manifest, identity(kind), read_shape(tiny), MACHINE, facts, ENVIRONMENT)
    seen: dict[str, list[float]] = {"loss": [], "gradient_norm": [], "validation": []}
    message, validate = Divergence.message, Trainer._validate

    def watched(self: Divergence, loss: float, norm: float) -> str | None:
        seen["loss"].append(loss)
        seen["gradient_norm"].append(norm)
        return message(self, loss, norm)

    def validated(self: Trainer) -> dict[str, float] | None:
        values = validate(self)
        seen["validation"].append((values or {"loss": 0.0})["loss"])
        return values

    monkeypatch.setattr(Divergence, "message", watched)
    monkeypatch.setattr(Trainer, "_validate", validated)
    sets = load_encoded(tmp_path / "encoded.safetensors")
    Trainer(plan, tiny, tmp_path, sets, EventLog(tmp_path / "events.jsonl"), pad=1).run()
    assert len(seen["loss"]) == STEPS
    later = CARRIED_ON.get(setting, CARRIED_ON_ELSE)
    for name, values in KEPT[setting].items():
        first = EARLY if name == NORMS else len(values)
        assert seen[name][:first] == pytest.approx(values[:first], rel=SAME), name
        assert seen[name][first:] == pytest.approx(values[first:], rel=later), name
