"""Eight adapters, one of each method, from one vLLM in one batch, against PEFT's own answers.

Trains every method on real data over one nf4 base (docs/adr/0001), publishes, starts one gateway
with one engine, asks all adapters and the base at the same moment, and compares: greedy tokens and
first log-probabilities with PEFT's own generation on the same base, native adapter and served form.
Ends with 1 if an adapter is not proved, or if an engine's answer is off its form by more than
`TOLERANCE` nats. A rerun finds its releases and trains nothing.

    python -m bench.every_method [--home FOLDER] [--only METHOD]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.apart import settle
from bench.peft_answers import Answer, equal_share, largest_difference, peft_answers
from bench.serving import ask_together, resident, serving

if TYPE_CHECKING:
    from adapterworks.app import App
    from adapterworks.builders.building.result import BuildResult
    from adapterworks.registry.bases.base import Base

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = 0.01
QUESTIONS, MAX_TOKENS = 4, 16
BASE = "smollm2-135m-instruct"
# A dozen steps at rates that move the answers.
METHODS = {
    "full": (
        'method={kind="full"}',
        "train.learning_rate=1e-4",
        "data.limit=48",
        "train.batch_size=4",
    ),
    "prefix-tuning": ('method={kind="prefix-tuning"}',),
    "prompt-tuning": ('method={kind="prompt-tuning"}',),
    "p-tuning-v2": ('method={kind="p-tuning-v2"}',),
    "lora": ('method={kind="lora",rank=16}', "train.learning_rate=1e-3"),
    "qlora": ('method={kind="qlora",rank=16}', "train.learning_rate=1e-3"),
    "adalora": ('method={kind="adalora"}', "train.learning_rate=5e-3"),
    "dora": ('method={kind="dora",rank=8}', "train.learning_rate=1e-3"),
}
SIZE = (
    "data.limit=24",
    "data.limit_validation=8",
    "data.limit_test=8",
    "train.epochs=1",
    "train.batch_size=2",
    "train.evaluations=1",
    "train.max_length=128",
    'evaluate.metrics=["exact_match"]',
    "evaluate.gates=[]",
    "evaluate.max_new_tokens=16",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table; `served` is None where the form is the method's own adapter."""

    name: str
    form: str
    conversion: float | None
    native: tuple[float, float]
    served: tuple[float, float] | None
    state: dict[str, Any] | None

    @property
    def fault(self) -> str | None:
        """Why this line is not as it must be."""
        proof = self.state["proof"] if self.state else None
        if self.state and (proof is None or proof["state"] != "proved"):
            return f"{self.name} is not proved: {self.state['error']}"
        share, difference = self.served or self.native
        if difference > TOLERANCE:
            return f"{self.name} is {difference:.2g} nats off its form, {share:.0%} of tokens equal"
        return None


def build(app: App, kind: str) -> BuildResult:
    """The release of one method, trained unless its plan has one."""
    from adapterworks.builders.building.run import run_build
    from adapterworks.manifests.load import load_manifest
    from adapterworks.progress import BuildProgress

    overrides = (f'adapter.name="{kind}"', *SIZE, *METHODS[kind])
    with BuildProgress(quiet=False) as progress:
        result = run_build(
            load_manifest("medical", overrides=overrides),
            registry=app.registry,
            bases=app.bases,
            home=app.settings.home,
            who=app.settings.who,
            listeners=(progress,),
            progress=progress.say,
        )
    _say(f"{result.ref}: {'trained' if result.created else 'there already'}")
    if result.servable is None:
        raise RuntimeError(f"{result.ref} has no servable form: {'; '.join(result.reasons)}")
    return result


def run(home: Path, kinds: Sequence[str]) -> list[Measured]:
    """Build, serve, ask, compare."""
    from adapterworks.app import App
    from adapterworks.builders.data.load import load_rows
    from adapterworks.builders.data.render import render_prompts

    settle(home)
    app = App()
    built = {kind: build(app, kind) for kind in kinds}
    base = app.bases.ensure(BASE, quantization="nf4")
    manifest = built[kinds[0]].plan.manifest
    rows = load_rows(manifest, cache=home / "cache").test[:QUESTIONS]
    conversations = [list(row.messages[:-1]) for row in rows]
    models = [result.ref for result in built.values()]
    with serving(home, "--max-loras", str(len(models))) as url:
        for model in models:  # one after the other, so that the proofs' times are their own
            asyncio.run(ask_together(url, [model], conversations[:1], max_tokens=1))
        _say(f"asking {len(models)} adapters and {BASE} {QUESTIONS} questions, all at once")
        got = asyncio.run(ask_together(url, [*models, BASE], conversations, max_tokens=MAX_TOKENS))
        states = resident()
    for name, state in states.items():
        _say(f"{name}: {state['state']}, {state['proof']}")
    from transformers import AutoTokenizer

    prompts = render_prompts(AutoTokenizer.from_pretrained(base.served), conversations)
    lines = [
        _compare(app, base, kind, result, got[result.ref], prompts, states[kind])
        for kind, result in built.items()
    ]
    alone = _agreement(got[BASE], peft_answers(base.served, None, prompts, max_tokens=MAX_TOKENS))
    app.close()
    return [*lines, Measured("(base)", "", None, alone, None, None)]


def _compare(
    app: App,
    base: Base,
    kind: str,
    result: BuildResult,
    got: list[Answer],
    prompts: list[list[int]],
    state: dict[str, Any],
) -> Measured:
    """One adapter's answers beside PEFT's: with the method's own adapter, with what is served."""
    _say(f"{kind}: PEFT's own answers")
    servable, registry = result.servable, app.registry
    assert servable is not None
    if kind == "full":  # a model of its own
        own = peft_answers(
            registry.checkout(result.digest, "full"), None, prompts, max_tokens=MAX_TOKENS
        )
    else:
        adapter = registry.checkout(result.digest, "adapter")
        own = peft_answers(base.served, adapter, prompts, max_tokens=MAX_TOKENS)
    served = None
    if servable.origin == "approximate":
        folder = registry.checkout(result.digest, "servable")
        served = _agreement(got, peft_answers(base.served, folder, prompts, max_tokens=MAX_TOKENS))
    return Measured(
        kind,
        f"{servable.form} {servable.rank or servable.virtual_tokens}, {servable.origin}",
        servable.error,
        _agreement(got, own),
        served,
        state,
    )


def _agreement(got: list[Answer], expected: list[Answer]) -> tuple[float, float]:
    return equal_share(got, expected), largest_difference(got, expected)


def show(lines: list[Measured]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "method",
        "served as",
        "lost",
        "proof (nats off, of base)",
        "cost",
        "tokens = PEFT's",
        "log p off",
        "= served form's",
        "log p off",
        title="Every method from one engine in one batch",
        caption=f"{QUESTIONS} questions, greedy, ≤{MAX_TOKENS} tokens; log p: largest difference "
        "over the first token's top 20, in nats; lost: relative error of the weight delta",
        box=None,
    )
    for line in lines:
        proof = line.state["proof"] if line.state else None
        table.add_row(
            line.name,
            line.form,
            "" if line.conversion is None else f"{line.conversion:.3f}",
            f"{proof['state']} ({proof['divergence']:.1e}, {proof['separation']:.2f})"
            if proof
            else "",
            f"{proof['milliseconds']:.0f} ms, {proof['tokens']} tokens" if proof else "",
            f"{line.native[0]:.1%}",
            f"{line.native[1]:.1e}",
            f"{line.served[0]:.1%}" if line.served else "",
            f"{line.served[1]:.1e}" if line.served else "",
        )
    Console(width=160).print(table)


def _say(line: str) -> None:
    sys.stderr.write(f"every_method: {line}\n")


def main() -> int:
    """Run it; 1 if a line is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=ROOT / ".cache" / "every-method")
    parser.add_argument("--only", action="append", choices=METHODS, help="this method; repeatable")
    options = parser.parse_args()
    home: Path = options.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    lines = run(home, options.only or list(METHODS))
    show(lines)
    faults = [line.fault for line in lines if line.fault]
    for fault in faults:
        print(f"fault: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
