"""Which engine settings are faster on this machine: each beside the gateway's own, in one run.

    python -m bench.engine_settings [--rounds 3] [--only bfloat16,one-thread]

One engine with the gateway's settings stays loaded; for every variant a second one is started, and
both are asked in turn. A ratio above 1 means that the variant is faster. What was chosen from it is
in docs/explanation/engine-plugin.md; `adapters doctor` says what of it a machine lacks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from adapterworks.gateway.engines.cpu import cpu_environment, tcmalloc
from bench.engine_lora import Case, Engine
from bench.random_lora import make_adapters
from bench.report import Row, figure, ratios, show

RANK, ADAPTERS = 16, 8
CASES = [
    Case("prefill", "prefill", []),
    Case("decode", "decode", []),
    Case("8 mixed", "decode", list(range(ADAPTERS))),
]


@dataclass(frozen=True)
class Variant:
    """What differs from the gateway's settings: engine arguments or environment variables."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str | None] = field(default_factory=dict)


def variants() -> Iterator[Variant]:
    """Those that this machine can run."""
    yield Variant("same-again")  # what the ratios mean: 1 but for noise
    yield Variant("one-thread", environment={"OMP_NUM_THREADS": "1"})
    yield Variant("not-bound", environment={"VLLM_CPU_OMP_THREADS_BIND": "nobind"})
    # What vLLM preloads by itself if nothing else is.
    (gomp,) = Path(torch.__file__).with_name("lib").glob("libgomp*.so*")
    yield Variant("gnu-openmp", environment={"LD_PRELOAD": str(gomp)})
    if (library := tcmalloc()) is not None:
        without = cpu_environment()["LD_PRELOAD"].replace(str(library), "").strip(":")
        yield Variant("no-tcmalloc", environment={"LD_PRELOAD": without})
    yield Variant(
        "malloc-trims",
        environment={"MALLOC_TRIM_THRESHOLD_": None, "MALLOC_MMAP_THRESHOLD_": None},
    )
    yield Variant("bfloat16", {"dtype": "bfloat16"})
    for size in (32, 64):  # 128 is what vLLM takes
        yield Variant(f"block-{size}", {"block_size": size})
    yield Variant("batch-512", {"max_num_batched_tokens": 512})


def measure(model: Path, chosen: list[Variant], rounds: int, tokens: int) -> list[Row]:
    """Every variant against the gateway's settings, `rounds` times in turn."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        adapters = make_adapters(model, Path(folder), ADAPTERS, RANK)
        ours = Engine(model, adapters, RANK, plugin=True)
        ours.receive()
        for variant in chosen:
            theirs = Engine(
                model,
                adapters,
                RANK,
                plugin=True,
                options=variant.options,
                environment=variant.environment,
            )
            try:
                theirs.receive()
                for row in _compare(variant, ours, theirs, rounds, tokens):
                    print(f"{row.name} {row.value:.3f}", file=sys.stderr)
                    rows.append(row)
            finally:
                theirs.close()
        ours.close()
    return rows


def _compare(
    variant: Variant, ours: Engine, theirs: Engine, rounds: int, tokens: int
) -> Iterator[Row]:
    for case in CASES:
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for number in range(-1, rounds):
            for name, engine in (("ours", ours), ("theirs", theirs)):
                answer = engine.ask(case, tokens, seed=number + 1)
                if number >= 0:
                    seconds[name].append(answer["seconds"])
        # Speeds, so the seconds the other way round.
        values = ratios(seconds["ours"], seconds["theirs"])
        yield figure(f"{variant.name}: {case.name}", "×", values, note="variant ÷ the gateway's")


def main() -> None:
    """Measure, print the table, write the JSON."""
    from adapterworks.registry.bases.store import BaseStore

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16, help="new tokens a request in decode")
    parser.add_argument("--only", default="", help="names of variants, with commas")
    arguments = parser.parse_args()
    known = {variant.name: variant for variant in variants()}
    names = arguments.only.split(",") if arguments.only else list(known)
    if unknown := set(names) - set(known):
        parser.error(f"no such variant: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    model = BaseStore(Path(".cache/bases")).ensure("smollm2-135m-instruct").served
    rows = measure(model, [known[name] for name in names], arguments.rounds, arguments.tokens)
    show("Engine settings: speed of a variant ÷ the gateway's own", rows, name="engine_settings")


if __name__ == "__main__":
    main()
