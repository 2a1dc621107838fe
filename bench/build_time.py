"""Where the wall time of a quick build goes: its stages, and whom its evaluation asks.

A build as anybody starts it, in a home of its own; the times are those of its own events. Beside
it, in turn, one batch of the base's answers decoded with and without letting go of rows that have
ended (`builders/engines/decoding.py`).

    python -m bench.build_time [--manifest medical] [--profile quick] [--set data.limit=80 …]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from adapterworks.builders.training.events import Event, read_events
from bench import apart
from bench.report import Row, figure, interleave, ratios, show

ROOT = Path(__file__).resolve().parents[1]
ADAPTERS = str(Path(sys.executable).with_name("adapters"))
RUNS, ANSWERS, TOKENS = 3, 32, 24


def run(manifest: str, profile: str, overrides: Sequence[str]) -> list[Row]:
    """Build, and say where the time went."""
    with tempfile.TemporaryDirectory(prefix="adapterworks-time-") as folder:
        home = Path(folder)
        environment = apart.environment(home)
        command = [ADAPTERS, "build", manifest, "--profile", profile]
        for override in overrides:
            command += ["--set", override]
        began = time.time()
        # A gate that a shorter build does not pass is no fault of the bench: exit code 3.
        done = subprocess.run(command, env=environment, cwd=ROOT)
        whole = time.time() - began
        logs = list(home.glob("builds/*/events.jsonl"))
        if done.returncode not in (0, 3) or not logs:
            raise SystemExit(f"the build ended with exit code {done.returncode}")
        events = read_events(logs[0])
    return [*_stages(events, whole), *_asked(events), *_decoding()]


def _stages(events: Sequence[Event], whole: float) -> list[Row]:
    """Seconds of each stage, and what is left: starting, reading rows, planning."""
    begun: dict[str, float] = {}
    took: dict[str, float] = defaultdict(float)
    for event in events:
        if event["event"] == "stage":
            if event["state"] == "begin":
                begun[event["name"]] = event["time"]
            else:
                took[event["name"]] += event["time"] - begun[event["name"]]
    took["everything else"] = whole - sum(took.values())
    rows = [figure("build", "s", [whole])]
    for name, seconds in took.items():
        share = f"{seconds / whole:.0%} of the build"
        rows.append(figure(f"build: {name}", "s", [seconds], note=share))
    return rows


def _asked(events: Sequence[Event]) -> list[Row]:
    """Seconds for which each subject was asked, from the times of its progress."""
    spent: dict[str, float] = defaultdict(float)
    before: float | None = None
    for event in events:
        if event["event"] == "stage":
            before = event["time"] if event["name"] == "evaluate" else None
        elif event["event"] == "evaluate" and before is not None:
            spent[event["subject"]] += event["time"] - before
            before = event["time"]
    return [figure(f"evaluation: {name}", "s", [seconds]) for name, seconds in spent.items()]


def _decoding() -> list[Row]:
    """The base's answers to questions of the medical rows, both ways in turn."""
    from transformers import AutoTokenizer

    from adapterworks.builders.data.load import load_source
    from adapterworks.builders.data.render import render_prompts
    from adapterworks.builders.engines.decoding import answers
    from adapterworks.builders.engines.engine import Sampling
    from adapterworks.builders.engines.huggingface import evaluating, load_model
    from adapterworks.builders.evaluation.asking import ends
    from adapterworks.registry.bases.store import BaseStore

    served = BaseStore(ROOT / ".cache" / "bases").ensure("smollm2-135m-instruct").served
    tokenizer, model = AutoTokenizer.from_pretrained(served), load_model(served)
    rows = load_source("icd-10-cm:test", "messages").rows[:ANSWERS]
    prompts = [(prompt, 0) for prompt in render_prompts(tokenizer, [row.prompt for row in rows])]
    sampling = Sampling(max_tokens=TOKENS, stop=ends(served, tokenizer.eos_token_id))
    given: list[list[tuple[int, ...]]] = []

    def seconds(*, divide: bool) -> float:
        began = time.process_time()
        given.append([a.token_ids for a in answers(model, prompts, sampling, divide=divide)])
        return time.process_time() - began

    with evaluating(model):
        whole, divided = interleave(
            RUNS, lambda: seconds(divide=False), lambda: seconds(divide=True)
        )
    if any(one != given[0] for one in given):
        raise SystemExit("the two ways of decoding do not give the same answers")
    note = f"{ANSWERS} answers of up to {TOKENS} tokens, the same ones; processor time"
    return [
        figure("decoding: rows that have ended are let go ÷ kept", "×", ratios(divided, whole),
               goal="≤1", note=note),
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--manifest", default="medical")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    show(
        f"Where the time of `{options.manifest}` {options.profile} goes",
        run(options.manifest, options.profile, options.overrides),
        name="build_time",
    )
