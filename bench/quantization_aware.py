"""How much of what four or eight bits cost a training that knows of them gets back.

    python -m bench.quantization_aware

A small Llama is trained on a task (the last tokens repeat the first ones), then a LoRA on another
set of its rows, once as usual and once with `train.quantization_aware`. Both are merged and written
as GGUF in float32 and in the type; printed are the losses of the validation rows' supervised
tokens, in nats a token, as llama.cpp computes them from the files, and the share of the usual one's
loss by rounding that the other one does not have.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

TYPES = {"int4": "q4_0", "int8": "q8_0"}
FIRST = {"epochs": 20.0, "learning_rate": 3e-3, "evaluations": 2}


def trained_base(place: Path) -> Path:
    """The small Llama after a full training on rows of its own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.builders.build_support import tiny_job
    from tests.builders.exports.models import make_model

    base = make_model(place / "random")  # for its tokenizer, which llama.cpp reads
    torch.manual_seed(0)
    fresh = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base), dtype=torch.float32)
    fresh.save_pretrained(base)
    job = tiny_job(base, place / "first", "full", rows=128, **FIRST)
    job.run()
    made = place / "base"
    shutil.copytree(base, made)
    for weights in made.glob("*.safetensors"):
        weights.unlink()
    (written,) = (job.folder / "adapter").glob("*.safetensors")
    shutil.copyfile(written, made / "model.safetensors")
    return made


def loss(base: Path, adapter: Path, type_: str, place: Path) -> float:
    """Nats a supervised token of the validation rows, from a GGUF file in llama.cpp."""
    from adapterworks.builders.exports.export import Settings
    from adapterworks.builders.exports.gguf_model import GgufModel
    from adapterworks.builders.exports.material import gather
    from adapterworks.registry.releases.release import Servable
    from tests.builders.build_support import encoded_rows
    from tests.builders.merging.conftest import make_shelf

    place.mkdir(parents=True)
    shelf = make_shelf(place, base)
    files = shelf.folder / "one"
    shutil.copytree(adapter, files / "servable")
    shelf.publish_files("one", shelf.base, Servable(form="lora", origin="native", rank=16))
    material, settings = gather(shelf.registry, shelf.bases, "one@1"), Settings(type_)
    file, form = place / "one.gguf", GgufModel()
    form.write(material, settings, file)
    lost: list[float] = []
    with form.reader(material, settings, file, place) as reader:
        for row in encoded_rows(8, seed=1):
            for at, label in enumerate(row.labels):
                if label != -100:
                    given = reader.next_token(row.input_ids[:at], 400)
                    lost.append(-given.get(label, math.log(1e-9)))
    shelf.registry.close()
    return math.fsum(lost) / len(lost)


def measure(base: Path, kind: str, place: Path, epochs: float) -> tuple[float, float, float]:
    """Losses: usual in float32, usual in the type, aware in the type."""
    from tests.builders.build_support import tiny_job

    options: dict[str, Any] = {
        "rows": 64,
        "epochs": epochs,
        "learning_rate": 5e-3,
        "evaluations": 4,
        "method": {"rank": 16, "target_modules": "all-linear"},
    }
    usual = tiny_job(base, place / "usual", "lora", **options)
    aware = tiny_job(base, place / "aware", "lora", quantization_aware=kind, **options)
    usual.run()
    aware.run()
    asked = ((usual, "f32"), (usual, TYPES[kind]), (aware, TYPES[kind]))
    found = [
        loss(base, job.folder / "adapter", type_, place / f"{number}")
        for number, (job, type_) in enumerate(asked)
    ]
    return found[0], found[1], found[2]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=float, default=10.0, help="of the LoRA")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        base = trained_base(place)
        for kind, type_ in TYPES.items():
            whole, rounded, aware = measure(base, kind, place / kind, arguments.epochs)
            cost = rounded - whole
            share = (rounded - aware) / cost if cost > 0 else math.nan
            sys.stdout.write(
                f"{kind} ({type_}): float32 {whole:.4f}, rounded {rounded:.4f}, aware and rounded "
                f"{aware:.4f}: {share:.0%} of {cost:.4f} nats\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
