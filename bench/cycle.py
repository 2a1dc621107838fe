"""The whole cycle by commands, on real rows and the quick base: served, corrected, learnt.

    python -m bench.cycle [--steps 140] [--more 100] [--folder KEPT]

A first release routes a bank's messages and was never shown those that a business line handles
itself (a slice of `bank-tickets`). It is served by `adapters serve` with its vLLM to a tenant who
lets its questions be kept. 300 questions are asked over HTTP, those that nobody has shown it among
them; what is wrong is corrected by `POST /v1/feedback`. `adapters data from-failures` makes a
dataset of it, a continued release learns that with what was learnt before mixed in, passes its
gates, and is promoted. Said are the accuracy on unseen messages of the failed cluster before and
after, with the interval of the paired gain, what the ancestor's own test set lost, and the lineage.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai

from adapterworks.builders.data.recipes import load_recipe
from adapterworks.builders.data.recipes.bank_tickets import OWN
from adapterworks.builders.data.rows import Row as Message
from bench import apart
from bench.jobs_flow import said, start
from bench.report import Row, figure, show
from bench.serving import ADAPTERS, free_port, wait_ready

ROOT = Path(__file__).resolve().parents[1]
BASE = "smollm2-135m-instruct"
QUESTIONS = 300
BUDGET = 0.1  # of the ancestor's accuracy that may be lost
MANIFEST = """
[adapter]
name = "tickets"
tenant = "acme"
[base]
model = "smollm2-135m-instruct"
quantization = "nf4"
[method]
kind = "lora"
rank = 16
alpha = 32
[data]
train = "{train}"
validation = "{validation}"
test = "{test}"
[train]
learning_rate = {rate}
batch_size = 8
max_length = 160
max_steps = {steps}
epochs = 8
seed = 1
[evaluate]
metrics = ["exact_match"]
max_new_tokens = 24
{retention}
[[evaluate.gates]]
metric = "exact_match"
against = "{against}"
min_gain = 0.05
confidence = 0.95
"""
START = '[start]\nfrom = "tickets@1"\n[data.replay]\nsource = "lineage"\nshare = 1.0\n'
CONFIG = f'open = false\n\n[[engines]]\nbase = "{BASE}"\n'


def write(path: Path, rows: Sequence[Message]) -> str:
    """Rows as a file; its name."""
    lines = (json.dumps({"messages": list(row.messages)}, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.name


def divided(split: str) -> tuple[list[Message], list[Message]]:
    """A split's messages that any queue handles, and those that a business line handles itself."""
    rows, _ = load_recipe(f"bank-tickets:{split}")
    known = [row for row in rows if OWN not in row.meta["slices"]]
    return known, [row for row in rows if OWN in row.meta["slices"]]


@contextlib.contextmanager
def served(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """A gateway with its engine; yields its address."""
    (folder / "gateway.toml").write_text(CONFIG)
    port = free_port()
    with contextlib.ExitStack() as stack:
        command = ("serve", "--config", str(folder / "gateway.toml"), "--port", str(port))
        gateway = start(stack, folder / "serve.log", environment, *command)
        wait_ready(f"http://127.0.0.1:{port}/ready", gateway, 1800)
        yield f"http://127.0.0.1:{port}"


def ask_and_correct(url: str, key: str, rows: Sequence[Message]) -> tuple[int, int]:
    """Ask every question; correct what is wrong. How many were wrong, and how many were asked."""
    wrong = 0
    headers = {"authorization": f"Bearer {key}"}
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key) as client, httpx.Client() as http:
        for row in rows:
            done = client.chat.completions.create(
                model="tickets:prod",
                messages=[{"role": "user", "content": row.question}],
                max_tokens=24,
                temperature=0,
            )
            if (done.choices[0].message.content or "").strip() == row.answer:
                continue
            wrong += 1
            body = {"id": done.id, "thumb": "down", "correction": row.answer, "reviewer": "ann"}
            until = time.monotonic() + 60
            while True:  # the answer is kept a moment later
                told = http.post(f"{url}/v1/feedback", json=body, headers=headers)
                if told.status_code == 201:
                    break
                if time.monotonic() > until:
                    raise RuntimeError(told.text)
                time.sleep(0.1)
    return wrong, len(rows)


def run(folder: Path, steps: int, more: int) -> list[Row]:
    """All of it; the figures."""
    environment = apart.environment(folder / "home")
    train, own = divided("train")
    held = QUESTIONS - len(own)  # messages that the first release could have been shown
    files = {
        "train": write(folder / "train.jsonl", train[held:]),
        "validation": write(folder / "validation.jsonl", divided("validation")[0][:24]),
        "test": write(folder / "test.jsonl", divided("test")[0][:160]),
    }
    path = folder / "tickets.toml"
    first = {"rate": "1e-3", "steps": steps, "retention": "", "against": "base"}
    path.write_text(MANIFEST.format(**files, **first))
    built = said(environment, "build", str(path), "--alias", "prod", "--json")
    print(f"tickets@1: {built['ref']}", flush=True)

    key = said(environment, "tenant", "add", "acme", "--allow", "*", "--json")["key"]
    consent = ("--capture", "tickets", "--retain", "30d", "--share", "own")
    subprocess.run([ADAPTERS, "tenant", "set", "acme", *consent], env=environment, check=True)
    with served(folder, environment) as url:
        wrong, asked = ask_and_correct(url, key, [*own, *train[:held]])
    print(f"{wrong} of {asked} answers were wrong and corrected", flush=True)

    made = said(
        environment, "data", "from-failures", "tickets", "--from", "capture", "--tenant", "acme",
        "--share", "1", "--json",
    )  # fmt: skip
    print(f"{made['dataset']}: {made['rows']} rows, {len(made['clusters'])} clusters", flush=True)
    tested = divided("test")[1]
    second = {
        "train": made["dataset"],
        "validation": write(folder / "validation2.jsonl", divided("validation")[1][:24]),
        "test": write(folder / "test2.jsonl", tested),
        "rate": "5e-4",
        "steps": more,
        "retention": f"retention = {{ ancestors = true, max_ancestor_loss = {BUDGET} }}",
        "against": "start",
    }
    path.write_text(MANIFEST.format(**second) + START)
    continued = said(environment, "build", str(path), "--alias", "candidate", "--json")
    said(
        environment, "promote", "tickets@2", "prod", "--why", "the corrections were learnt",
        "--json",
    )  # fmt: skip
    print("\n".join(said(environment, "lineage", "tickets", "--graph", "--json")["graph"]))
    return _figures(continued["report"], wrong, asked, made["rows"], len(tested))


def _figures(
    report: Mapping[str, Any], wrong: int, asked: int, rows: int, tested: int
) -> list[Row]:
    found = report["metrics"]["exact_match"]
    gain = found["gains"]["start"]
    (ancestor,) = report["ancestors"]
    lost = f"[{-ancestor['high']:+.3f}, {-ancestor['low']:+.3f}] on {ancestor['rows']} rows"
    values, unseen = found["values"], f"{tested} unseen messages of the failed cluster"
    interval = f"[{gain['low']:+.3f}, {gain['high']:+.3f}], paired, 95 %"
    return [
        figure("answers corrected", "", [float(wrong)], note=f"of {asked}; {rows} rows to learn"),
        figure("failed cluster before", "%", [100 * values["start"]], note=unseen),
        figure("failed cluster after", "%", [100 * values["candidate"]], note=unseen),
        figure("gain", "", [gain["gain"]], goal="≥0.05", note=interval),
        figure("ancestor's loss", "", [-ancestor["change"]], goal=f"≤{BUDGET:g}", note=lost),
    ]


def main() -> int:
    """Run, print, and fail if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=140, help="of the first release")
    parser.add_argument("--more", type=int, default=100, help="of the continued one")
    parser.add_argument("--folder", type=Path, help="kept, so that builds are not done again")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder
        if folder is None:
            kept = tempfile.TemporaryDirectory(prefix="adapterworks-cycle-")
            folder = Path(stack.enter_context(kept))
        table = run(folder, options.steps, options.more)
    show("Cycle", table, name="cycle")
    return int(any(row.met is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
