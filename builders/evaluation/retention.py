"""Forgetting: what does the adapter cost on general text and small suites?

Perplexity on fixed general prose (recipe `general:test`), and accuracy on the manifest's suites
(`suites/`, one file each).
Invariant: the same texts, in the same order, for base and candidate; a smaller `limit` is a prefix.
With 100 rows only large losses show: perplexity is the finer measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adapterworks.builders.data.recipes import load_recipe
from adapterworks.builders.data.render import encode_rows
from adapterworks.builders.evaluation.gates.gate import GateOutcome
from adapterworks.builders.evaluation.gates.retention import retention_outcomes
from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.suites import SUITES
from adapterworks.builders.evaluation.suites.suite import BATCH
from adapterworks.manifests.evaluate_tables import RetentionTable

PROSE = "general:test"
PROSE_TOKENS = 256  # per paragraph


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


def measure(
    generator: Generator,
    table: RetentionTable,
    *,
    progress: Progress | None = None,
) -> Scores:
    """One model's retention scores, on at most `table.limit` paragraphs and rows of each suite."""
    prose = load_recipe(PROSE)[0][: table.limit]
    encoded = encode_rows(generator.tokenizer, prose, PROSE_TOKENS)
    nll, tokens = generator.likelihood(encoded, batch_size=BATCH, progress=progress).sum(axis=0)
    rows = {"perplexity": len(prose)}
    suites: dict[str, float] = {}
    for name in table.suites:
        suite = SUITES.named(name)
        cases = suite.cases()[: table.limit]
        rows[name] = len(cases)
        suites[name] = suite.score(generator, cases, progress)
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
