"""How much of the base's speed is left with LoRA on CPU: stock vLLM and our plugin, side by side.

    python -m bench.engine_lora [--rounds 5] [--tokens 32] [--rank 16]

Two engines are kept loaded, one with the plugin and one without; every round asks each of them for
every case, one after the other, so that whatever else the machine does hits all alike. Ratios are
taken within a round. Random adapters on all linear layers; the numbers do not depend on weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.gateway.engines.cpu import cpu_environment
from bench.random_lora import make_adapters
from bench.report import Row, figure, ratios, show

RESIDENT = 32
SCATTERED = [1, 6, 9, 14, 18, 21, 27, 30]


@dataclass(frozen=True)
class Case:
    """What to ask: a name, the worker's method and the adapters."""

    name: str
    do: str
    adapters: list[int]


CASES = [
    Case("prefill, base", "prefill", []),
    Case("prefill, one LoRA", "prefill", [0]),
    Case("decode, base", "decode", []),
    Case("decode, 8 mixed", "decode", list(range(8))),
    Case("decode, 8 of 32 mixed", "decode", SCATTERED),
    Case("decode, one LoRA", "decode", [0]),
]


PAIRS = [
    ("prefill, one LoRA", "prefill, base", "≥0.90"),
    ("decode, 8 mixed", "decode, base", "≥0.90"),
    ("decode, 8 of 32 mixed", "decode, base", "≥0.85"),
    ("decode, one LoRA", "decode, base", ""),
]
"""With LoRA ÷ base, and the goal with the plugin."""


class Engine:
    """A worker process; see `bench.engine_worker`.

    Args:
        options: engine arguments that differ.
        environment: variables that differ; None: not set.
    """

    def __init__(
        self,
        model: Path,
        adapters: list[Path],
        rank: int,
        *,
        plugin: bool,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        variables: dict[str, str | None] = {
            **cpu_environment(),
            **os.environ,
            "ADAPTERS_ENGINE_PLUGIN": str(int(plugin)),
            **(environment or {}),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.engine_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={name: value for name, value in variables.items() if value is not None},
        )
        self._send(
            {
                "model": str(model),
                "adapters": [str(a) for a in adapters],
                "rank": rank,
                "options": dict(options or {}),
            }
        )

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The answer to the last message."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engine ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, case: Case, tokens: int, seed: int) -> dict[str, Any]:
        """Run one case."""
        self._send({"do": case.do, "adapters": case.adapters, "tokens": tokens, "seed": seed})
        return self.receive()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def agreement(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float]:
    """Share of equal greedy tokens, and the largest log-probability difference before the first
    unequal one (after it the texts differ)."""
    equal = total = 0
    largest = 0.0
    for a, b, la, lb in zip(
        first["tokens"], second["tokens"], first["logprobs"], second["logprobs"], strict=True
    ):
        same = next((k for k, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))
        equal, total = equal + same, total + len(a)
        largest = max([largest, *(abs(x - y) for x, y in zip(la[:same], lb[:same], strict=True))])
    return {"equal_tokens": equal / total, "largest_logprob_difference": largest}


def measure(model: Path, rounds: int, tokens: int, rank: int) -> list[Row]:
    """All cases on both engines, `rounds` times in turn; the ratios, and whether both agree."""
    seconds: dict[tuple[str, str], list[float]] = {}
    agree: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        adapters = make_adapters(model, Path(folder), RESIDENT, rank)
        engines = {
            name: Engine(model, adapters, rank, plugin=name == "plugin")
            for name in ("stock", "plugin")
        }
        for engine in engines.values():
            engine.receive()
        for case in CASES:
            first = {name: e.ask(case, min(tokens, 8), seed=0) for name, e in engines.items()}
            agree[case.name] = agreement(first["stock"], first["plugin"])
        for number in range(1, rounds + 1):
            for case in CASES:
                # Each is the first as often as the other.
                for name, engine in sorted(engines.items(), reverse=number % 2 == 0):
                    answer = engine.ask(case, tokens, seed=number)
                    seconds.setdefault((name, case.name), []).append(answer["seconds"])
            print(f"round {number} of {rounds}", file=sys.stderr)
        for engine in engines.values():
            engine.close()
    return list(_rows(seconds, agree))


def _rows(
    seconds: dict[tuple[str, str], list[float]], agree: dict[str, dict[str, float]]
) -> Iterator[Row]:
    for engine in ("plugin", "stock"):
        for name, base, goal in PAIRS:
            # Speeds, so the seconds the other way round.
            values = ratios(seconds[engine, base], seconds[engine, name])
            note = f"{name} ÷ {base}, {engine}"
            yield figure(
                f"{name}, {engine}", "", values, goal=goal if engine == "plugin" else "", note=note
            )
    for name in ("prefill, base", "decode, base"):
        values = ratios(seconds["stock", name], seconds["plugin", name])
        yield figure(f"{name}, plugin on", "", values, goal="≥0.98", note="plugin on ÷ off")
    for name, _, _ in PAIRS:
        values = ratios(seconds["stock", name], seconds["plugin", name])
        yield figure(f"{name}, gain", "×", values, note="plugin ÷ stock")
    for (engine, name), values in seconds.items():
        yield figure(f"{name}, {engine}", "s", values)
    for name, row in agree.items():
        yield figure(
            f"{name}: equal greedy tokens", "", [row["equal_tokens"]], note="plugin, stock"
        )
        yield figure(
            f"{name}: log-probability difference", "nats", [row["largest_logprob_difference"]]
        )


def main() -> None:
    """Measure, print the table, write the JSON."""
    from adapterworks.registry.bases.store import BaseStore

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32, help="new tokens a request in decode")
    parser.add_argument("--rank", type=int, default=16)
    arguments = parser.parse_args()
    model = BaseStore(Path(".cache/bases")).ensure("smollm2-135m-instruct").served
    rows = measure(model, arguments.rounds, arguments.tokens, arguments.rank)
    title = f"LoRA on CPU, rank {arguments.rank}, {threads()} threads: ratios of speed"
    show(title, rows, name="engine_lora")


def threads() -> int:
    """Threads of each engine."""
    return int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


if __name__ == "__main__":
    main()
