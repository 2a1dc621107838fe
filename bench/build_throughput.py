"""Training speed against a plain TRL + PEFT script: same base, rows, method, batch and precision.

Both sides train the same LoRA (rank 16 on all linear layers, float32) on the same medical rows for
one epoch, each in a process of its own, in turn. Tokens are those of the rows, padding not counted;
time is the optimizer steps' only. The losses of both are reported, so that speed is not bought.

    python -m bench.build_throughput [--rows 160] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import Row, figure, interleave, ratios, show

ROOT = Path(__file__).resolve().parents[1]
BATCH, RATE, RANK = 8, 2e-4, 16


def manifest(rows: int) -> Any:
    """The medical manifest as LoRA, cut to `rows`, without validation passes in between."""
    from adapterworks.manifests.load import load_manifest

    overrides = [
        f'method={{kind="lora", rank={RANK}}}',
        f"data.limit={rows}",
        "data.limit_validation=8",
        "data.limit_test=8",
        "train.epochs=1",
        "train.evaluations=1",
        f"train.batch_size={BATCH}",
        f"train.learning_rate={RATE}",
    ]
    return load_manifest("medical", profile="quick", overrides=overrides)


def ours(rows: int) -> dict[str, Any]:
    """Train with `adapterworks.builders.training.loop`."""
    from adapterworks.builders.building.prepare import prepare
    from adapterworks.builders.training.batches import load_encoded, save_encoded
    from adapterworks.builders.training.events import EventLog, read_events
    from adapterworks.builders.training.loop import Trainer
    from adapterworks.registry.bases.store import BaseStore

    prepared = prepare(manifest(rows), BaseStore(ROOT / ".cache" / "bases"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_encoded(folder / "encoded.safetensors", prepared.encoded)
        log = folder / "events.jsonl"
        sets = load_encoded(folder / "encoded.safetensors")
        events = EventLog(log)
        base, pad = prepared.base.served, prepared.pad
        result = Trainer(prepared.plan, base, folder, sets, events, pad=pad).run()
        losses = [event["loss"] for event in read_events(log) if event["event"] == "step"]
    return {"tokens_per_second": result.tokens_per_second, "losses": losses}


def plain(rows: int) -> dict[str, Any]:
    """Train as TRL's documentation shows it: rows of prompt and completion, LoRA, SFTTrainer."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from adapterworks.builders.building.prepare import prepare
    from adapterworks.registry.bases.store import BaseStore

    prepared = prepare(manifest(rows), BaseStore(ROOT / ".cache" / "bases"))
    tokens = sum(example.tokens for example in prepared.encoded["train"])
    dataset = Dataset.from_list(
        [
            {"prompt": list(row.messages[:-1]), "completion": [row.messages[-1]]}
            for row in prepared.rows["train"]
        ]
    )
    seconds, losses = [0.0], list[float]()

    class Clock(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Sums the time of the steps and keeps their losses."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds[0] += time.perf_counter() - self.began

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(prepared.base.served, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(prepared.base.served),
            train_dataset=dataset,
            peft_config=LoraConfig(
                r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            args=SFTConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                per_device_train_batch_size=BATCH,
                learning_rate=RATE,
                lr_scheduler_type="cosine",
                warmup_steps=max(1, round(0.03 * rows / BATCH)),
                num_train_epochs=1,
                max_length=128,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=42,
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    return {"tokens_per_second": tokens / seconds[0], "losses": losses}


def run(rows: int = 160, rounds: int = 3) -> list[Row]:
    """Measure both sides in turn."""
    final: dict[str, list[float]] = {"ours": [], "plain": []}

    def side(name: str) -> float:
        command = [sys.executable, "-m", "bench.build_throughput", "--side", name]
        done = subprocess.run(
            [*command, "--rows", str(rows)], cwd=ROOT, check=True, capture_output=True, text=True
        )
        result = json.loads(done.stdout.splitlines()[-1])
        final[name].append(statistics.mean(result["losses"][-5:]))
        return float(result["tokens_per_second"])

    first, second = interleave(rounds, lambda: side("ours"), lambda: side("plain"), warmup=0)
    note = f"{rows} rows, batch {BATCH}, LoRA r{RANK}, float32"
    return [
        figure("build: ours ÷ TRL", "×", ratios(first, second), goal="≥1.3", note=note),
        figure("build: ours", "tokens/s", first, note=note),
        figure("build: TRL + PEFT", "tokens/s", second, note=note),
        figure("loss of the last 5 steps: ours", "nats", final["ours"]),
        figure("loss of the last 5 steps: TRL", "nats", final["plain"]),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps({"ours": ours, "plain": plain}[options.side](options.rows)))
    else:
        show("Builder", run(options.rows, options.rounds), name="build_throughput")
