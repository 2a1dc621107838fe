"""One evaluation, asked of Hugging Face and of our own vLLM: equal scores? and what each costs.

Evaluates a release on the same rows by each member, nothing remembered, and compares answers,
scores and likelihoods. Ends with 1 if a score differs though every answer's tokens are sure: a
token is sure when the two members' log-probabilities of the chosen ones are within `TOLERANCE`.

    python -m bench.evaluation_engines REF [--limit 24] [--max-new-tokens 16]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

METRICS = ("exact_match", "perplexity")
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Measured:
    """One member's evaluation; seconds of the wall and of all processors together."""

    engine: str
    wall: float
    cpu: float
    report: dict[str, Any]
    lines: list[dict[str, Any]]


def measure(ref: str, engine: str, limit: int, max_new_tokens: int) -> Measured:
    """Evaluate a release by one member."""
    from adapterworks.app import App
    from adapterworks.builders.engines.choice import Engines
    from adapterworks.builders.evaluation.releases import evaluate_release
    from adapterworks.builders.evaluation.subjects import find_subject
    from adapterworks.engines.compose import compose_builders_engines

    app = App()
    engines = compose_builders_engines(app, wanted=engine, say=_say)
    manifest = find_subject(app.registry, app.bases, ref).manifest
    off = manifest.evaluate.retention.model_copy(update={"on": False})
    table = manifest.evaluate.model_copy(
        update={
            "metrics": METRICS,
            "gates": (),
            "retention": off,
            "max_new_tokens": max_new_tokens,
            "bootstrap_samples": 100,
        }
    )
    process, began = psutil.Process(), time.monotonic()
    before = _processors(process)
    evaluation = evaluate_release(
        ref,
        manifest=manifest.model_copy(update={"evaluate": table}),
        limit=limit,
        registry=app.registry,
        bases=app.bases,
        cache=app.settings.home / "cache",
        engines=Engines(engines.openers, None, engine),
        say=_say,
    )
    wall = time.monotonic() - began
    cpu = _processors(process) - before
    app.close()
    lines = [json.loads(line) for line in evaluation.predictions_jsonl().split("\n") if line]
    return Measured(engine, wall, cpu, evaluation.report, lines)


def compare(one: Measured, other: Measured) -> bool:
    """Print how far they agree; whether they do."""
    subjects = one.report["subjects"]
    equal = True
    for subject in subjects:
        answers = [
            a["answers"][subject] == b["answers"][subject]
            for a, b in zip(one.lines, other.lines, strict=True)
        ]
        print(f"{subject}: {sum(answers)} of {len(answers)} answers equal")
        for name, entry in one.report["metrics"].items():
            mine = entry["values"][subject]
            theirs = other.report["metrics"][name]["values"][subject]
            print(f"  {name}: {one.engine} {mine:.6f}, {other.engine} {theirs:.6f}")
            equal = equal and abs(mine - theirs) <= TOLERANCE * max(1.0, abs(mine))
    return equal


def _processors(process: psutil.Process) -> float:
    """Seconds that it and all children it waited for have computed."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ref")
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--max-new-tokens", type=int, default=16)
    arguments = parser.parse_args()
    measured = [
        measure(arguments.ref, engine, arguments.limit, arguments.max_new_tokens)
        for engine in ("huggingface", "vllm")
    ]
    for one in measured:
        print(f"{one.engine}: {one.wall:.1f} s, {one.cpu:.1f} s of processors", flush=True)
    return 0 if compare(*measured) else 1


if __name__ == "__main__":
    sys.exit(main())
