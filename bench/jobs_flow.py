"""OpenAI's flow on the whole base, as a team has it: upload → job → poll → chat, timed.

    python -m bench.jobs_flow [--rows 200] [--held-out 40]

`adapters serve` with `[jobs]`, its vLLM and `adapters worker` are processes of their own; the
program is the one of docs/how-to/jobs.md, with only the address changed. A second job of the same
rows is paused at a checkpoint and resumed; its weights are compared with those of `adapters build`
of the manifest that `adapters jobs show` prints, in another home.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import openai

from adapterworks.builders.data.recipes import load_recipe
from bench import apart
from bench.report import Row, figure, show
from bench.serving import ADAPTERS, end, free_port, wait_ready

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "how-to" / "jobs.md"
BASE = "smollm2-135m-instruct"
MINUTES = 10.0  # how long it may take, on two cores
TEMPLATE = """
[train]
max_length = 128
save_every = "5 steps"

[evaluate]
metrics = ["exact_match", "icd_chapter"]
max_new_tokens = 8

[[evaluate.gates]]
metric = "icd_chapter"
against = "base"
min_gain = 0.0
"""
CONFIG = f"""
open = false

[[engines]]
base = "{BASE}"

[jobs]
on = true
template = "jobs.toml"
"""


class Failed(Exception):
    """Something came out otherwise than it should."""


@contextlib.contextmanager
def service(home: Path) -> Iterator[tuple[str, str]]:
    """Gateway, engine and worker; yields the URL and a tenant's key."""
    environment = apart.environment(home / "home")
    (home / "gateway.toml").write_text(CONFIG)
    (home / "jobs.toml").write_text(TEMPLATE)
    told = said(environment, "tenant", "add", "acme", "--allow", "base:*", "--json")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        serve = ("serve", "--config", str(home / "gateway.toml"), "--port", str(port))
        gateway = start(stack, home / "serve.log", environment, *serve)
        wait_ready(f"{url}/ready", gateway, 900)
        start(stack, home / "worker.log", environment, "worker")
        yield f"{url}/v1", told["key"]


def start(
    stack: contextlib.ExitStack, log: Path, environment: Mapping[str, str], *command: str
) -> subprocess.Popen[bytes]:
    """A command in a process of its own, ended with the stack."""
    output = stack.enter_context(log.open("wb"))
    process = subprocess.Popen([ADAPTERS, *command], stdout=output, stderr=output, env=environment)
    stack.callback(end, process)
    return process


def said(environment: Mapping[str, str], *command: str) -> Any:
    """What a command prints as JSON."""
    done = subprocess.run([ADAPTERS, *command], env=environment, capture_output=True, check=False)
    if done.returncode:
        raise Failed(f"adapters {' '.join(command)}: {done.stderr.decode()[-2000:]}")
    return json.loads(done.stdout)


def write_rows(folder: Path, counts: Mapping[str, tuple[str, int]]) -> None:
    """Conversations as OpenAI's documentation has them, from ICD-10-CM."""
    for name, (split, count) in counts.items():
        rows, _ = load_recipe(f"icd-10-cm:{split}")
        lines = [json.dumps({"messages": list(row.messages)}) for row in rows[:count]]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def flow(folder: Path) -> str:
    """Run the page's first program; what it prints."""
    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(compile(program, str(PAGE), "exec"), {})
    return printed.getvalue()


def paused(client: openai.OpenAI) -> str:
    """A job that is paused at a checkpoint, and goes on; its id."""
    files = {file.filename: file.id for file in client.files.list()}
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=files["rows.jsonl"], validation_file=files["held-out.jsonl"],
        suffix="paused", seed=42,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
    )  # fmt: skip
    while not list(client.fine_tuning.jobs.checkpoints.list(job.id)):
        if client.fine_tuning.jobs.retrieve(job.id).status in ("succeeded", "failed"):
            raise Failed("the job ended before it could be paused")
        time.sleep(0.2)
    client.fine_tuning.jobs.pause(job.id)
    while client.fine_tuning.jobs.retrieve(job.id).status != "queued":
        time.sleep(0.2)
    client.fine_tuning.jobs.resume(job.id)
    while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed"):
        time.sleep(0.5)
    if job.status != "succeeded":
        raise Failed(f"the paused job: {job.error}")
    return job.id


def weights(environment: Mapping[str, str], ref: str) -> dict[str, str]:
    """Digest of each file of weights of a release."""
    files = said(environment, "show", ref, "--json")["release"]["files"]
    return {name: file["digest"] for name, file in files.items() if name.endswith(".safetensors")}


def run(rows: int, held_out: int) -> list[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, {"rows": ("train", rows), "held-out": ("test", held_out)})
        with service(folder) as (url, key):
            os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": key}
            began = time.monotonic()
            print(flow(folder), flush=True)
            took = (time.monotonic() - began) / 60
            with openai.OpenAI() as client:
                job = paused(client)
                ref = str(client.fine_tuning.jobs.retrieve(job).fine_tuned_model)
        here = apart.environment(folder / "home")
        into = folder / "manifest"
        into.mkdir()
        subprocess.run([ADAPTERS, "jobs", "show", job, "--into", str(into)], env=here, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        there = apart.environment(folder / "other")
        built = said(there, "build", str(into / "manifest.toml"), "--json")
        same = weights(here, ref) == weights(there, built["ref"])
    size = f"{rows} + {held_out} ICD-10-CM rows, {BASE}"
    return [
        figure("upload to answer", "min", [took], goal=f"≤{MINUTES:g}", note=size),
        figure("paused and resumed = built whole", "", [float(same)], goal="≥1", note="weights"),
    ]


def main() -> int:
    """Run, print, and fail if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--held-out", type=int, default=40)
    options = parser.parse_args()
    table = run(options.rows, options.held_out)
    show("Jobs", table, name="jobs_flow")
    return int(any(row.met is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
