"""Is a sabotaged adapter ever served? Each is planted, asked for, and must be refused.

Pulls ten hostile records (`bench.hostile_records`), of which none may be accepted. Builds two good
adapters on real rows (once; a rerun finds them), plants twenty sabotaged ones in a fresh registry,
starts `adapters serve` with one real vLLM, and asks each over HTTP, whole and streamed. Ends with 1
if a record was accepted, if a token of a sabotaged adapter was answered, if two of them were
refused with the same words, or if the good one is not answered at the end as at the start.

    python -m bench.sabotage [--home FOLDER]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adapterworks.manifests.digests import digest_file
from bench import hostile_records
from bench.sabotage_scene import BASE, GOOD, ROOT, plant
from bench.sabotages import SABOTAGES, WEIGHTS, Sabotage
from bench.serving import resident, serving

QUESTION = [{"role": "user", "content": "Give the ICD-10-CM category for: amebic balanitis"}]
MAX_TOKENS = 12
_PATIENCE = 20  # asks of a cold adapter before a 503 counts as the answer


@dataclass
class Outcome:
    """What came of asking one adapter.

    Attributes:
        tokens: answered, over all asks.
        statuses: HTTP, each once, in order.
        state: as `adapters ps` shows it; None if it was never given to the engine.
    """

    tokens: int = 0
    text: str = ""
    statuses: list[int] = field(default_factory=list)
    message: str = ""
    state: dict[str, Any] | None = None

    @property
    def words(self) -> str:
        """The message and the findings without names and numbers: what tells two faults apart."""
        findings = self.state["findings"] if self.state else []
        text = "; ".join([self.message, *findings])
        return re.sub(r"`[^`]*`|sha256:\S+|[\d.]+(e-?\d+)?", "…", text)


def ask(url: str, ref: str) -> Outcome:
    """Ask over HTTP as a tenant does: whole, streamed, and by the other endpoint."""
    outcome = Outcome()
    chat = {"model": ref, "messages": QUESTION, "max_tokens": MAX_TOKENS, "temperature": 0}
    prompt = {"model": ref, "prompt": "Amebic balanitis is", "max_tokens": MAX_TOKENS}
    for path, body in (
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {**chat, "stream": True}),
        ("/v1/completions", prompt),
    ):
        for _ in range(_PATIENCE):
            response = httpx.post(url + path, json=body, timeout=120)
            if response.status_code != 503:
                break
            time.sleep(1)
        if response.status_code not in outcome.statuses:
            outcome.statuses.append(response.status_code)
        texts = _answered(response)
        outcome.tokens += len(texts)
        outcome.text = outcome.text or "".join(texts)
        if response.status_code != 200 and not outcome.message:
            outcome.message = response.json()["error"]["message"].partition("\n")[0]
    return outcome


def _answered(response: httpx.Response) -> list[str]:
    """The pieces of text in an answer, whatever its status."""
    lines = response.text.splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    pieces = []
    for document in map(json.loads, events or [response.text]):
        for choice in document.get("choices", []):
            part = choice.get("message") or choice.get("delta") or choice
            pieces.append(part.get("content") or part.get("text") or "")
    return [piece for piece in pieces if piece]


def show(outcomes: dict[str, Outcome]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "what was done", "answered", "HTTP", "adapters ps", "refused with", box=None, pad_edge=False
    )
    for sabotage in SABOTAGES:
        outcome = outcomes[sabotage.name]
        state = outcome.state["state"] if outcome.state else "not in it"
        said = outcome.message
        if outcome.state and outcome.state["findings"]:
            said += "".join(f"\n· {finding}" for finding in outcome.state["findings"])
        table.add_row(
            sabotage.done,
            f"{outcome.tokens} tokens",
            ", ".join(map(str, outcome.statuses)),
            state,
            said.replace("[", r"\["),
        )
    Console(width=180).print(table)


def faults(outcomes: dict[str, Outcome], first: Outcome, last: Outcome) -> list[str]:
    """What is not as it must be."""
    found = []
    words: dict[str, Sabotage] = {}
    for sabotage in SABOTAGES:
        outcome = outcomes[sabotage.name]
        if outcome.tokens or 200 in outcome.statuses:
            found.append(f"served: {sabotage.done}")
        if sabotage.damage is not None:
            continue  # one fault, wherever the bytes changed; the gateway's log names the file
        other = words.setdefault(outcome.words, sabotage)
        if other is not sabotage:
            found.append(f"the same words: {other.done}, {sabotage.done}")
    if last.statuses != [200] or not last.text or last.text != first.text:
        found.append(f"the good adapter is not answered as before: {last.message or last.text}")
    return found


def run(home: Path) -> int:
    """Plant, serve, ask, show; the number of faults."""
    records = hostile_records.outcomes()
    accepted = [name for name, (taken, _) in records.items() if taken]
    print(f"{len(records)} hostile records, {len(accepted)} accepted")
    served = home / "served"
    refs = plant(home, served)
    began = time.monotonic()
    with serving(served, "--base", BASE, "--config", str(served / "gateway.toml")) as url:
        _say(f"the engine is up after {time.monotonic() - began:.0f} s")
        first = ask(url, refs[GOOD])
        outcomes = {}
        for sabotage in SABOTAGES:
            outcomes[sabotage.name] = outcome = ask(url, refs[sabotage.name])
            _say(f"{sabotage.name}: {outcome.statuses} {outcome.message}")
        last = ask(url, refs[GOOD])
        states = resident()
    for name, outcome in outcomes.items():
        outcome.state = states.get(name)
    show(outcomes)
    good = states[GOOD]
    proof = good["proof"]
    print(
        f"good: {refs[GOOD]} HTTP {last.statuses[0]}, {last.text!r} as at the start; "
        f"{good['state']}, {proof['state']}: {proof['divergence']:.1e} nats off its fingerprint, "
        f"which is {proof['separation']:.2f} from its base; its checkout held another adapter's "
        f"weights and was made anew\n"
        f"cost of its proof: {proof['milliseconds']:.0f} ms, {proof['tokens']} engine tokens, once "
        "for each load"
    )
    found = faults(outcomes, first, last) + [f"accepted: record {name}" for name in accepted]
    hex_digest = good["digest"].removeprefix("sha256:")
    checkout = served / "checkouts" / hex_digest / WEIGHTS
    if digest_file(checkout) != digest_file(home / "files" / GOOD / WEIGHTS):
        found.append("the good adapter's checkout is not its own files")
    served_ones = sum(1 for outcome in outcomes.values() if outcome.tokens)
    print(f"{len(SABOTAGES)} sabotaged, {served_ones} served")
    for fault in found:
        print(f"fault: {fault}")
    return len(found)


def _say(line: str) -> None:
    sys.stderr.write(f"sabotage: {line}\n")


def main() -> int:
    """Run it; 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=ROOT / ".cache" / "sabotage")
    home: Path = parser.parse_args().home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    return 1 if run(home) else 0


if __name__ == "__main__":
    sys.exit(main())
