"""Logits of a micro batch together, and a few positions at a time: peak memory and steps a second.

SmolLM2-135M (a vocabulary of 49,152) over 8 rows of 512 tokens, as LoRA and trained whole, learning
half of the tokens or all of them; each training in a process of its own, in turn.

    python -m bench.logits [--steps 2] [--only lora]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROWS, LENGTH = 8, 512
KINDS = ("lora", "full")
LEARNT = {"half": LENGTH // 2, "all": LENGTH}


def one(kind: str, learnt: str, parts: bool, steps: int) -> dict[str, Any]:
    """Train in this process.

    Args:
        parts: logits a few positions at a time; else as the model computes them.
    """
    import torch

    from adapterworks.builders.data.render import Encoded
    from adapterworks.builders.methods.shape import read_shape
    from adapterworks.builders.plan.machine import detect_machine
    from adapterworks.builders.plan.plan import make_plan
    from adapterworks.builders.training import loop
    from adapterworks.builders.training.batches import load_encoded, save_encoded
    from adapterworks.builders.training.events import EventLog, read_events
    from adapterworks.registry.bases.store import BaseStore
    from tests.builders import build_support as support

    base = BaseStore(ROOT / ".cache" / "bases").ensure("smollm2-135m-instruct")
    shape = read_shape(base.checkpoint)
    generator = torch.Generator().manual_seed(1)

    def rows(count: int) -> list[Encoded]:
        made = []
        for index in range(count):
            ids = torch.randint(2, shape.vocab, (LENGTH,), generator=generator).tolist()
            start = LENGTH - LEARNT[learnt]
            made.append(Encoded(ids, [-100] * start + ids[start:], index))
        return made

    keys: dict[str, Any] = {"batch_size": ROWS, "micro_batch_size": ROWS, "max_length": LENGTH}
    keys |= {"epochs": 1.0, "evaluations": 1, "share_prefix": False}
    train, validation = rows(ROWS * steps), rows(1)
    plan = make_plan(
        support.manifest_for(kind, **keys),
        support.identity(kind),
        shape,
        detect_machine(),
        support.facts_of(train, validation),
        support.ENVIRONMENT,
    )
    if not parts:
        loop.projection_of = lambda *_, **__: None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        splits = {"train": train, "validation": validation}
        encoded = {name: support.examples_of(given) for name, given in splits.items()}
        save_encoded(folder / "encoded.safetensors", encoded)
        sets = load_encoded(folder / "encoded.safetensors")
        log = folder / "events.jsonl"
        result = loop.Trainer(plan, base.checkpoint, folder, sets, EventLog(log), pad=1).run()
        losses = [event["loss"] for event in read_events(log) if event["event"] == "step"]
    return {
        "planned": plan.memory["total"],
        "measured": result.peak_memory,
        "steps_per_second": result.steps / result.seconds,
        "losses": losses,
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--only", default="", help="only this method")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, learnt, parts = options.one
        print(json.dumps(one(kind, learnt, parts == "parts", options.steps)))
        return 0
    print("| training | logits | peak MB | planned MB | steps/s | last loss |")
    print("|---|---|---|---|---|---|", flush=True)
    for kind in KINDS:
        for learnt in LEARNT if kind.startswith(options.only) else ():
            for how in ("together", "parts"):
                arguments = ["--steps", str(options.steps), "--one", kind, learnt, how]
                done = subprocess.run(
                    [sys.executable, "-m", "bench.logits", *arguments],
                    cwd=ROOT, capture_output=True, text=True, check=True,
                )  # fmt: skip
                found = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"| {kind}, {learnt} of {LENGTH} tokens learnt | {how} | "
                    f"{found['measured'] / 1e6:.0f} | {found['planned'] / 1e6:.0f} | "
                    f"{found['steps_per_second']:.4f} | {found['losses'][-1]:.5f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
