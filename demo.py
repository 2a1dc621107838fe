"""`make demo`: two adapters from manifest to answer, on real data, with nothing simulated.

Builds `enterprise-kb` and `bank-tickets` (profile quick), publishes both, starts one gateway with
one vLLM, asks both adapters and their base through the `openai` client, and checks that they answer
differently and that every answer's receipt names the release that was built. Each adapter is shown
beside its base and beside a search over its training rows, with intervals; each must beat its base
beyond chance, and which of them beat the search is said. The registry is a temporary one, whatever
registry you have configured. Nothing here waits by a clock: a slow
machine is waited for. Ends with one line `demo: OK …`, or with what failed and exit code 1.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openai import APIStatusError, OpenAI
from rich.console import Console
from rich.table import Table

from adapterworks.app import App
from bench.apart import settle
from bench.served_values import PROMPTS, TOLERANCE, largest_difference
from bench.serving import ADAPTERS, ServingFailed, serving

ROOT = Path(__file__).resolve().parent
BASE = "smollm2-135m-instruct"
# The shorter build first: somebody who tries this sees a result within minutes.
NAMES = ("enterprise-kb", "bank-tickets")
QUESTIONS = {
    "bank-tickets": "早上给你们打电话一直占线，公司基本户想销户，请问该怎么办理？",
    "enterprise-kb": "Which service owns this? Creates a new secret and stores its value.",
}
METRIC = "exact_match"


class DemoFailed(Exception):
    """What failed, for the last line."""


def main() -> int:
    """Run the demo; returns the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="adapterworks-demo-") as home:
        settle(home)
        try:
            built = {}
            for name in NAMES:
                built[name] = build(name)
                show({name: built[name]})
                print(f"({minutes(began)} since the beginning)", flush=True)
            step("adapters serve --open")
            os.environ["ADAPTERS_GATEWAY_LOG__LEVEL"] = "warning"
            with serving(Path(home), quiet=False, seconds=math.inf) as url:
                ask(url, built)
            show(built)
            for name in NAMES:
                if not beats(built[name], "base"):
                    raise DemoFailed(f"`{name}` is not better than its base beyond chance")
            best = [name for name in NAMES if beats(built[name], "nearest")]
        except (DemoFailed, ServingFailed, subprocess.CalledProcessError) as error:
            print(f"demo: FAILED: {error}")
            return 1
    print(
        f"demo: OK: two adapters built, published and served by one vLLM, each better than its "
        f"base beyond chance; better than a search over its training rows too: "
        f"{', '.join(best) or 'none'}; {minutes(began)}"
    )
    return 0


def minutes(since: float) -> str:
    """The time since then, for people."""
    return f"{(time.monotonic() - since) / 60:.1f} min"


def build(name: str) -> dict[str, Any]:
    """Build a manifest's quick profile as a user would, and read what was published."""
    step(f"adapters build {name} --profile quick")
    subprocess.run([ADAPTERS, "build", name, "--profile", "quick"], check=True, cwd=ROOT)
    registry = App().registry
    release = registry.resolve(f"{name}:candidate")
    report = json.loads(registry.read(release.digest, "report.json"))
    return {"ref": f"{name}@{release.version}", "digest": release.digest, "report": report}


def show(built: dict[str, dict[str, Any]]) -> None:
    """Adapter, base and search over the training rows, on the same unseen rows."""
    table = Table(title=f"{METRIC} on unseen rows, with 95 % intervals", title_justify="left")
    for heading in ("adapter", "rows", "adapter is right", "base", "nearest training row"):
        table.add_column(heading)
    table.add_column("gain over base")
    table.add_column("gain over nearest")
    for name, result in built.items():
        entry = result["report"]["metrics"][METRIC]
        shares = [_share(entry, subject) for subject in ("candidate", "base", "nearest")]
        gains = [_gain(entry["gains"][subject]) for subject in ("base", "nearest")]
        table.add_row(name, str(result["report"]["rows"]), *shares, *gains)
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def _share(entry: dict[str, Any], subject: str) -> str:
    low, high = entry["intervals"][subject]
    return f"{entry['values'][subject]:.0%} [{low:.0%}, {high:.0%}]"


def _gain(gain: dict[str, float]) -> str:
    return f"{gain['gain']:+.0%} [{gain['low']:+.0%}, {gain['high']:+.0%}]"


def beats(result: dict[str, Any], *references: str) -> bool:
    """Whether the gain over each has its 95 % interval above 0."""
    gains = result["report"]["metrics"][METRIC]["gains"]
    return all(gains[reference]["low"] > 0 for reference in references)


def ask(url: str, built: dict[str, dict[str, Any]]) -> None:
    """Ask every model every question; check difference and receipts."""
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=None)
    models = [*(result["ref"] for result in built.values()), BASE]
    listed = {model.id for model in client.models.list()}
    print(f"models: {', '.join(sorted(listed))}")
    for question in QUESTIONS.values():
        step(question)
        answers = []
        for model in models:
            raw = answered(client, model, question)
            answer = (raw.parse().choices[0].message.content or "").strip()
            digest = raw.headers.get("x-adapter-digest", "")
            print(f"  {model:<24} {answer!r}  {digest[:19]}")
            name = model.partition("@")[0]
            if model != BASE and digest != built[name]["digest"]:
                raise DemoFailed(f"`{model}` answered with {digest}, built was another digest")
            answers.append(answer)
        if len(set(answers)) != len(answers):
            raise DemoFailed(f"two models gave the same answer to {question!r}")
    step("adapters ps")
    subprocess.run([ADAPTERS, "ps"], check=True, cwd=ROOT)
    difference = largest_difference(built[NAMES[0]]["ref"], url)
    print(
        f"served values: largest log-probability difference between the trainer's NF4 model and "
        f"vLLM, {PROMPTS} prompts × top 20: {difference:.1e} nats (tolerance {TOLERANCE})"
    )
    if difference > TOLERANCE:
        raise DemoFailed("the engine does not serve the values that training saw")


def answered(client: OpenAI, model: str, question: str) -> Any:
    """The answer, with its headers; while an adapter is being loaded and proved, ask again.

    Raises:
        DemoFailed: the gateway refuses, or says no time after which to ask again.
    """
    said = ""
    while True:
        try:
            return client.chat.completions.with_raw_response.create(
                model=model,
                messages=[{"role": "user", "content": question}],
                max_tokens=24,
                temperature=0,
            )
        except APIStatusError as error:
            after = error.response.headers.get("retry-after")
            if error.status_code != 503 or after is None:
                raise DemoFailed(f"`{model}`: {error}") from error
            if error.message != said:
                said = error.message
                print(f"  waiting: {said}", flush=True)
            time.sleep(float(after))


def step(text: str) -> None:
    """A heading on standard output, before whatever the step prints."""
    print(f"\n$ {text}" if text.startswith("adapters") else f"\n? {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
