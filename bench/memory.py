"""Memory, planned and measured: twenty trainings of a random base, each in a process of its own.

What is planned is `Plan.memory`; what is measured is the process's peak beyond what it was before
the model, as every release records it. Ends with 1 if one of them is further than 15 % apart.

    python -m bench.memory [--only WORDS] [--base FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
STEPS = 3
WITHIN = 0.15
# Name → method, length of every row, keys of `[train]`.
CONFIGURATIONS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "lora, 8 rows of 128": ("lora", 128, {"micro_batch_size": 8}),
    "lora, 8 rows of 256": ("lora", 256, {"micro_batch_size": 8}),
    "lora, 8 rows of 128 in twos": ("lora", 128, {"micro_batch_size": 2}),
    "lora, rank 128": ("lora", 128, {"micro_batch_size": 8, "method": {"rank": 128}}),
    "lora, dropout": ("lora", 128, {"micro_batch_size": 8, "method": {"dropout": 0.1}}),
    "lora, attention only": (
        "lora", 128, {"micro_batch_size": 8, "method": {"target_modules": ["q_proj", "v_proj"]}},
    ),
    "lora, recomputed": ("lora", 256, {"micro_batch_size": 8, "gradient_checkpointing": True}),
    "lora, packed": ("lora", 128, {"micro_batch_size": 8, "packing": True}),
    "qlora, 8 rows of 128": ("qlora", 128, {"micro_batch_size": 8}),
    "qlora, 8 rows of 256": ("qlora", 256, {"micro_batch_size": 8}),
    "qlora, recomputed": ("qlora", 256, {"micro_batch_size": 8, "gradient_checkpointing": True}),
    "dora, 8 rows of 128": ("dora", 128, {"micro_batch_size": 8}),
    "adalora, 8 rows of 128": ("adalora", 128, {"micro_batch_size": 8}),
    "prefix tuning": ("prefix-tuning", 128, {"micro_batch_size": 8}),
    "prompt tuning": ("prompt-tuning", 128, {"micro_batch_size": 8}),
    "full, 8 rows of 128": ("full", 128, {"micro_batch_size": 8}),
    "full, 8 rows of 128 in ones": ("full", 128, {"micro_batch_size": 1}),
    "full, 8-bit moments": ("full", 128, {"micro_batch_size": 8, "optimizer": "adamw-8bit"}),
    "full, recomputed": ("full", 256, {"micro_batch_size": 8, "gradient_checkpointing": True}),
    "vera, 8 rows of 128": ("vera", 128, {"micro_batch_size": 8}),
}  # fmt: skip


def make_base(folder: Path) -> Path:
    """A random Llama of 40 million parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8192,
            hidden_size=512,
            intermediate_size=1536,
            num_hidden_layers=10,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
        )
    ).save_pretrained(folder)
    return folder


def one(name: str, base: Path) -> dict[str, Any]:
    """Plan and train one configuration in this process; bytes, and tokens a second."""
    from adapterworks.builders.data.render import Encoded
    from adapterworks.builders.methods.shape import read_shape
    from adapterworks.builders.plan.machine import detect_machine
    from adapterworks.builders.plan.plan import make_plan
    from adapterworks.builders.training.batches import load_encoded, save_encoded
    from adapterworks.builders.training.events import EventLog
    from adapterworks.builders.training.loop import Trainer
    from tests.builders import build_support as support

    kind, length, train = CONFIGURATIONS[name]
    generator = torch.Generator().manual_seed(1)
    shape = read_shape(base)

    def rows(count: int) -> list[Encoded]:
        made = []
        for index in range(count):
            ids = torch.randint(2, shape.vocab, (length,), generator=generator).tolist()
            made.append(Encoded(ids, [-100] * (length // 2) + ids[length // 2 :], index))
        return made

    steps = 8 if kind == "adalora" else STEPS
    splits = {"train": rows(8 * steps), "validation": rows(2)}
    keys = {"batch_size": 8, "max_length": length, "epochs": 1.0, "evaluations": 1, **train}
    plan = make_plan(
        support.manifest_for(kind, **keys),
        support.identity(kind),
        shape,
        detect_machine(),
        support.facts_of(splits["train"], splits["validation"]),
        support.ENVIRONMENT,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        examples = {name: support.examples_of(given) for name, given in splits.items()}
        save_encoded(folder / "encoded.safetensors", examples)
        sets = load_encoded(folder / "encoded.safetensors")
        events = EventLog(folder / "events.jsonl")
        result = Trainer(plan, base, folder, sets, events, pad=1).run()
    return {
        "planned": plan.memory["total"],
        "measured": result.peak_memory,
        "tokens_per_second": result.tokens_per_second,
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--only", default="", help="only those with these words")
    parser.add_argument("--base", type=Path, help="a base of your own")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.base)))
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        base = options.base or make_base(Path(scratch) / "base")
        print("| training | planned MB | measured MB | planned ÷ measured | tokens/s |")
        print("|---|---|---|---|---|", flush=True)
        for name in CONFIGURATIONS:
            if options.only not in name:
                continue
            done = subprocess.run(
                [sys.executable, "-m", "bench.memory", "--one", name, "--base", str(base)],
                cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                print(
                    f"| {name} | {done.stderr.strip().splitlines()[-1][:120]} | | | |", flush=True
                )
                failed += 1
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            ratio = found["planned"] / found["measured"]
            failed += abs(ratio - 1) > WITHIN
            print(
                f"| {name} | {found['planned'] / 1e6:.0f} | {found['measured'] / 1e6:.0f} | "
                f"{ratio:.2f} | {found['tokens_per_second']:.0f} |",
                flush=True,
            )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
