"""`make demo`: two adapters from manifest to answer, on real data, with nothing simulated.

Builds `medical` and `enterprise-kb` (profile quick), publishes both, starts one gateway with one
vLLM, asks both adapters and their base through the `openai` client, checks that the three answer
differently and that every answer's receipt names the release that was built; then stops all it
started. Ends with one line `demo: OK …`, or with what failed and exit code 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openai import OpenAI

from bench.served_values import PROMPTS, TOLERANCE, largest_difference
from bench.serving import ADAPTERS, ServingFailed, serving

ROOT = Path(__file__).resolve().parent
BASE = "smollm2-135m-instruct"
NAMES = ("medical", "enterprise-kb")
QUESTIONS = {
    "medical": "Give the ICD-10-CM category for: staphylococcal arthritis, right knee",
    "enterprise-kb": "Which service owns this? Creates a new secret and stores its value.",
}


class DemoFailed(Exception):
    """What failed, for the last line."""


def main() -> int:
    """Run the demo; returns the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="adapterworks-demo-") as home:
        os.environ["ADAPTERS_HOME"] = home
        os.environ.setdefault("ADAPTERS_BASES", str(ROOT / ".cache" / "bases"))
        try:
            built = {name: build(name) for name in NAMES}
            gains = [name for name in NAMES if _gain(built[name])["low"] > 0]
            if not gains:
                raise DemoFailed("no adapter is better than its base with its interval above 0")
            step("adapters serve --open")
            os.environ["ADAPTERS_GATEWAY_LOG__LEVEL"] = "warning"
            with serving(Path(home), quiet=False) as url:
                ask(url, built)
        except (DemoFailed, ServingFailed, subprocess.CalledProcessError) as error:
            print(f"demo: FAILED: {error}")
            return 1
    minutes = (time.monotonic() - began) / 60
    print(
        f"demo: OK: two adapters built, published and served by one vLLM; better than their base "
        f"beyond chance: {', '.join(gains)}; {minutes:.1f} min"
    )
    return 0


def build(name: str) -> dict[str, Any]:
    """Build a manifest's quick profile as a user would, then read back what it came to."""
    step(f"adapters build {name} --profile quick")
    command = [ADAPTERS, "build", name, "--profile", "quick"]
    subprocess.run(command, check=True, cwd=ROOT)
    # The plan is unchanged now, so this names the release instead of building it again.
    again = subprocess.run([*command, "--json"], check=True, cwd=ROOT, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(again.stdout)
    if result["created"]:
        raise DemoFailed(f"`{name}` was built twice from one plan")
    gain = _gain(result)
    print(
        f"{name}: {gain['metric']} on {gain['rows']} unseen test rows: base {gain['base']:.1%}, "
        f"adapter {gain['adapter']:.1%}, gain {gain['gain']:+.1%} "
        f"[{gain['low']:+.1%}, {gain['high']:+.1%}]"
    )
    return result


def _gain(result: dict[str, Any]) -> dict[str, Any]:
    """The gated metric's scores and the 95 % interval of its gain over the base."""
    report = result["report"]
    metric = report["gates"][0]["name"]
    entry = report["metrics"][metric]
    values, gain = entry["values"], entry["gains"]["base"]
    return {
        "metric": metric,
        "rows": report["rows"],
        "base": values["base"],
        "adapter": values["candidate"],
        **{key: gain[key] for key in ("gain", "low", "high")},
    }


def ask(url: str, built: dict[str, dict[str, Any]]) -> None:
    """Ask every model every question; check difference and receipts."""
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    models = [*(result["ref"] for result in built.values()), BASE]
    listed = {model.id for model in client.models.list()}
    print(f"models: {', '.join(sorted(listed))}")
    for question in QUESTIONS.values():
        step(question)
        answers = []
        for model in models:
            raw = client.chat.completions.with_raw_response.create(
                model=model,
                messages=[{"role": "user", "content": question}],
                max_tokens=24,
                temperature=0,
            )
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
    difference = largest_difference(built["medical"]["ref"], url)
    print(
        f"served values: largest log-probability difference between the trainer's NF4 model and "
        f"vLLM, {PROMPTS} prompts × top 20: {difference:.1e} nats (tolerance {TOLERANCE})"
    )
    if difference > TOLERANCE:
        raise DemoFailed("the engine does not serve the values that training saw")


def step(text: str) -> None:
    """A heading on standard output, before whatever the step prints."""
    print(f"\n$ {text}" if text.startswith("adapters") else f"\n? {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
