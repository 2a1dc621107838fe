"""Makes `sft_losses.json`: SFT's first steps as they were before there were objectives.

Run once, with the code of commit e6b91c0, whose names it uses (a row was a sequence then):

    python -m tests.builders.training.make_sft_losses
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from transformers import AutoTokenizer

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.render import encode_rows
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.plan import make_plan
from adapterworks.builders.training.arithmetic import Divergence
from adapterworks.builders.training.batches import load_encoded, save_encoded
from adapterworks.builders.training.events import EventLog
from adapterworks.builders.training.loop import Trainer
from tests.builders.build_support import (
    ENVIRONMENT,
    MACHINE,
    identity,
    make_tiny_base,
    manifest_for,
)
from tests.builders.training.sft_settings import COMMON, ROWS, SETTINGS, VALIDATION, rows

COMMIT = "e6b91c0"


def measured(base: Path, folder: Path, name: str) -> dict[str, list[float]]:
    kind, of, changes = SETTINGS[name]
    manifest = manifest_for(kind, **{**COMMON, **changes})
    tokenizer = AutoTokenizer.from_pretrained(base)
    train, longest = manifest.train, manifest.train.max_length
    splits = {
        "train": encode_rows(tokenizer, rows(of, ROWS), longest, train.loss_on),
        "validation": encode_rows(tokenizer, rows(of, VALIDATION, 500), longest, train.loss_on),
    }
    folder.mkdir()
    save_encoded(folder / "encoded.safetensors", splits)
    facts = DataFacts(
        rows={"train": ROWS, "validation": VALIDATION, "test": 0},
        digests={"train": "sha256:1", "validation": "sha256:2", "test": "sha256:3"},
        lengths=tuple(len(row.input_ids) for row in splits["train"]),
        supervised=tuple(sum(label != -100 for label in row.labels) for row in splits["train"]),
        shared=common_prefix(
            [row.input_ids for row in splits["train"]], [row.labels for row in splits["train"]]
        ),
    )
    plan = make_plan(manifest, identity(kind), read_shape(base), MACHINE, facts, ENVIRONMENT)
    seen: dict[str, list[float]] = {"loss": [], "gradient_norm": [], "validation": []}
    message, validation = Divergence.message, Trainer._validation_loss

    def watched(self: Divergence, loss: float, norm: float) -> str | None:
        seen["loss"].append(loss)
        seen["gradient_norm"].append(norm)
        return message(self, loss, norm)

    def validated(self: Trainer) -> float | None:
        loss = validation(self)
        seen["validation"].append(loss or 0.0)
        return loss

    Divergence.message, Trainer._validation_loss = watched, validated  # type: ignore[method-assign]
    try:
        sets = load_encoded(folder / "encoded.safetensors")
        Trainer(plan, base, folder, sets, EventLog(folder / "events.jsonl"), pad=1).run()
    finally:
        Divergence.message = message  # type: ignore[method-assign]
        Trainer._validation_loss = validation  # type: ignore[method-assign]
    return seen


def main() -> None:
    torch.set_num_threads(1)
    values = {}
    with tempfile.TemporaryDirectory() as name:
        base = make_tiny_base(Path(name) / "tiny")
        for number, setting in enumerate(SETTINGS):
            values[setting] = measured(base, Path(name) / str(number), setting)
            print(setting, values[setting]["loss"][0], values[setting]["loss"][-1])
    path = Path(__file__).with_name("sft_losses.json")
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    head = f'{{"commit": "{COMMIT}", "torch": "{torch.__version__}", "settings": {{'
    path.write_text(f"{head}\n{lines}\n}}}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
