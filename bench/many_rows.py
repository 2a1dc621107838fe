"""Many rows: gates, rendering and encoding, then the first 100 steps; memory and time by number.

Rows are 250 English words in random order, half of them the answer; the base is a random Llama of
two layers with a tokenizer that was trained on such words. Memory is the peak of the whole process:
of the one that prepares, and of the training process beyond what it was before the model. It ends
with 1 if one of both grows by more than `GROWTH` bytes a row between the fewest and the most rows.

    python -m bench.many_rows [--rows 50000 200000] [--held ROWS]
"""

from __future__ import annotations

import argparse
import json
import os
import pydoc_data.topics
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORDS = 250
STEPS = 100
GROWTH = 1500  # bytes a row: what is counted, hashed and listed of each, never its text or tokens
_STATUS = Path("/proc/self/status")


def words() -> list[str]:
    """Some thousand English words: those of Python's own documentation."""
    text = " ".join(pydoc_data.topics.topics.values())
    return sorted(set(re.findall(r"[a-z]{3,10}", text)))


def write_rows(path: Path, count: int) -> None:
    """JSON Lines of prompt and completion; the same for the same number."""
    known, drawn = words(), random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            chosen = drawn.choices(known, k=WORDS)
            half = WORDS // 2
            row = {"prompt": " ".join(chosen[:half]), "completion": " ".join(chosen[half:])}
            file.write(json.dumps(row) + "\n")


def make_base(folder: Path) -> Path:
    """A random Llama of two layers with a tokenizer of its own."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [" ".join(words())] * 3,
        trainers.BpeTrainer(
            vocab_size=4096,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = (
        "{% for m in messages %}<s>{{ m.role }} {{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant {% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def measure(count: int) -> dict[str, Any]:
    """Prepare so many rows here, and take the first steps on them in a process of its own."""
    from adapterworks.builders.building.prepare import prepare
    from adapterworks.builders.training.batches import save_encoded
    from adapterworks.builders.training.job import run_job
    from adapterworks.manifests.models import Manifest
    from adapterworks.registry.bases.store import BaseStore

    with tempfile.TemporaryDirectory(prefix="many-rows-") as temporary:
        folder = Path(temporary)
        write_rows(folder / "rows.jsonl", count)
        values = {
            "adapter": {"name": "many"},
            "base": {"model": str(make_base(folder / "base")), "quantization": "none"},
            "method": {"kind": "lora", "rank": 4},
            "data": {
                "train": str(folder / "rows.jsonl"),
                "format": "prompt-completion",
                "validation_share": 0.001,
            },
            "train": {"max_length": 768, "max_steps": STEPS, "evaluations": 1, "batch_size": 8},
        }
        manifest = Manifest.model_validate_json(json.dumps(values))
        began, spent = time.monotonic(), time.process_time()
        prepared = prepare(manifest, BaseStore(folder / "bases"), cache=folder / "cache")
        seconds = time.process_time() - spent
        job = folder / "job"
        job.mkdir()
        save_encoded(job / "encoded.safetensors", prepared.encoded)
        peak, waited = _peak(), time.monotonic() - began
        with (job / "lock").open("w") as lock:
            run_job(prepared.job(), job, lock.fileno(), lambda _: None)
        result = json.loads((job / "train" / "result.json").read_text())
        return {
            "rows": count,
            "tokens": prepared.plan.tokens,
            "preparing_s": round(seconds, 1),
            "waited_s": round(waited, 1),
            "ms_a_row": round(1000 * seconds / count, 3),
            "prepare_peak_mib": peak >> 20,
            "train_peak_mib": result["peak_memory"] >> 20,
        }


def _peak() -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--held", type=int, help="rows from which on they are in files")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.held is not None:
        from adapterworks.builders.data import many
        from adapterworks.builders.data.gates import hashed

        many.HELD = hashed._KEPT = given.held
    if given.one is not None:
        print(json.dumps(measure(given.one)))
        return 0
    found = []
    for count in given.rows:
        command = [sys.executable, "-m", "bench.many_rows", "--one", str(count)]
        command += ["--held", str(given.held)] if given.held is not None else []
        run = subprocess.run(
            command, stdout=subprocess.PIPE, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        found.append(json.loads(run.stdout))
        print(json.dumps(found[-1]), flush=True)
    few, many = found[0], found[-1]
    more = max(1, many["rows"] - few["rows"])
    grown = [(many[key] - few[key]) * 2**20 / more for key in few if key.endswith("_peak_mib")]
    print(f"grown by {grown[0]:.0f} (preparing) and {grown[1]:.0f} (training) bytes a row")
    return int(len(found) > 1 and max(grown) > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
