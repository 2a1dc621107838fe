"""The yardstick: TRL + PEFT on the same batches; losses and gradient norms of the first 20 steps.

Both sides begin with the same weights, take the same rows in the same order and step with AdamW at
a constant rate, so that every difference is one of arithmetic: which tokens count, what a loss is
divided by, how gradients are clipped. Ends with 1 if a step differs by more than `TOLERANCE`.

    python -m bench.yardstick
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.builders.training.batches import epoch_batches, load_encoded
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.state import load_trainable, trainable_tensors
from tests.builders.build_support import TinyJob, make_tiny_base, tiny_job

METHODS = ("lora", "qlora", "full")
STEPS = 20
ROWS = 8 * STEPS
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Curve:
    """Loss (nats a supervised token) and gradient norm before clipping, of each step."""

    losses: list[float]
    norms: list[float]


def ours(base: Path, folder: Path, kind: str) -> tuple[Curve, TinyJob, dict[str, Any]]:
    """Our own training; also the job, and the weights it began with."""
    job = tiny_job(
        base,
        folder,
        kind,
        rows=ROWS,
        epochs=1.0,
        learning_rate=1e-3,
        schedule="constant",
        warmup_ratio=0.0,
        evaluations=1,
    )
    trainer = job.trainer()
    began = {name: value.clone() for name, value in trainable_tensors(trainer.bare).items()}
    trainer.run()
    steps = [e for e in read_events(job.folder / "events.jsonl") if e["event"] == "step"]
    curve = Curve([e["loss"] for e in steps], [e["gradient_norm"] for e in steps])
    return curve, job, began


def trls(job: TinyJob, folder: Path, began: dict[str, Any]) -> Curve:
    """TRL's `SFTTrainer` from the same weights over the same batches."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from adapterworks.builders.training.model import build_model

    train = job.plan.manifest.train
    encoded = load_encoded(job.folder / "encoded.safetensors")["train"]
    order = epoch_batches(
        encoded.lengths, train.batch_size, group=train.group_by_length, seed=train.seed, epoch=0
    )
    rows = [encoded.examples[index][0] for batch in order for index in batch]
    dataset = Dataset.from_list(
        [
            {
                "input_ids": row.input_ids.tolist(),
                "completion_mask": (row.labels != -100).long().tolist(),
            }
            for row in rows
        ]
    )
    model = build_model(job.base, job.plan)
    load_trainable(model, began)

    class InOrder(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    trainer = InOrder(
        model=model,
        args=SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=train.batch_size,
            max_steps=STEPS,
            learning_rate=job.plan.learning_rate,
            lr_scheduler_type="constant",
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=train.max_grad_norm,
            optim="adamw_torch",
            logging_steps=1,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            completion_only_loss=True,
            max_length=None,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(job.base),
    )
    for parameter in model.parameters():
        if parameter.requires_grad:  # on a quantized base TRL casts what is trained to bfloat16
            parameter.data = parameter.data.float()
    load_trainable(model, began)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Curve(
        [float(entry["loss"]) for entry in logged], [float(entry["grad_norm"]) for entry in logged]
    )


def compared(base: Path, folder: Path, kind: str) -> tuple[Curve, Curve]:
    """(ours, TRL's) of one method."""
    curve, job, began = ours(base, folder / "ours", kind)
    return curve, trls(job, folder / "trl", began)


def furthest(one: list[float], other: list[float]) -> float:
    """Largest difference, relative to what is compared where that is above 1."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(one, other, strict=True))


def main() -> int:
    """Print how far apart both are."""
    failed = False
    print("| method | steps | loss: first, last (ours / TRL) | furthest loss | furthest norm |")
    print("|---|---|---|---|---|")
    for kind in METHODS:
        with tempfile.TemporaryDirectory() as scratch:
            base = make_tiny_base(Path(scratch) / "base")
            mine, theirs = compared(base, Path(scratch), kind)
        loss, norm = furthest(mine.losses, theirs.losses), furthest(mine.norms, theirs.norms)
        ends = ", ".join(
            f"{mine.losses[at]:.4f} / {theirs.losses[at]:.4f}" for at in (0, STEPS - 1)
        )
        print(f"| {kind} | {len(mine.losses)} | {ends} | {loss:.1e} | {norm:.1e} |")
        failed |= not max(loss, norm) <= TOLERANCE
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
