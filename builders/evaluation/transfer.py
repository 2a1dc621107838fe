"""Backward transfer: what a continued training costs on the test rows of every ancestor.

Each ancestor's test rows are asked again and scored by its own first metric; what it scored then is
in its predictions, so the difference is paired, row by row (Lopez-Paz & Ranzato 2017, BWT: the mean
of now − then over the ancestors).

Invariant: the rows are those of the ancestor's record; a verdict is a function of the report.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapterworks.builders.data.ancestry import Ancestor, ancestors
from adapterworks.builders.data.assemble import rows_to_evaluate
from adapterworks.builders.data.rows import Row, rows_digest
from adapterworks.builders.evaluation.comparison import CANDIDATE, groups_of
from adapterworks.builders.evaluation.gates.gate import ROUNDING, GateOutcome
from adapterworks.builders.evaluation.gates.retention import at_confidence, within_budget
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.metric import Floats, Prediction
from adapterworks.builders.evaluation.statistics import mean_gain_interval
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable, RetentionTable, SamplesTable
from adapterworks.manifests.json_lines import read_json_lines
from adapterworks.manifests.models import Manifest
from adapterworks.registry.registry import Registry

CONFIDENCE = 0.95


@dataclass(frozen=True)
class AncestorTest:
    """What one ancestor was tested on, and how it did.

    Attributes:
        table: its `[evaluate]`, with the metric that it is judged by alone.
        then: its score on each row, by that metric.
        earlier: what it scored on its own ancestors, by ref.
    """

    ref: str
    digest: str
    rows: tuple[Row, ...]
    table: EvaluateTable
    then: Floats
    earlier: Mapping[str, float]

    @property
    def metric(self) -> str:
        """What it is judged by."""
        return self.table.metrics[0]


def ancestor_tests(
    registry: Registry, manifest: Manifest, base: Path, cache: Path
) -> list[AncestorTest]:
    """The tests of every release that a training goes back to, nearest first; those without test
    rows have none.

    Args:
        base: the checkpoint that is trained on, which is theirs.

    Raises:
        Refused: the rows or answers of one are not here any more.
        NotFound: an ancestor is not here.
    """
    if manifest.start is None or not manifest.evaluate.retention.ancestors:
        return []
    found = ancestors(registry, manifest.start.ref, cache=cache)
    tests = (_test(registry, ancestor, base, cache) for ancestor in found)
    return [test for test in tests if test is not None]


def require_provable(
    tests: Sequence[AncestorTest], table: RetentionTable, confidence: float = CONFIDENCE
) -> None:
    """Refuse, before a training, a budget that not even a candidate without any loss would keep:
    the interval of no change has a width.

    Raises:
        InvalidInput: with the least budget that the rows can show.
    """
    budget = table.max_ancestor_loss
    for test in tests if budget is not None else ():
        nothing = np.zeros(len(test.rows))
        least = mean_gain_interval(nothing, confidence, groups_of(test.rows)).high
        if budget is not None and budget + ROUNDING < least:
            raise InvalidInput(
                f"`evaluate.retention.max_ancestor_loss` is {budget:g}, and the {len(test.rows)} "
                f"test rows of `{test.ref}` cannot show less than {least:.3f}, not even where "
                "every answer stays what it was",
                hint=f"set it to {math.ceil(least * 1000) / 1000:g} or more, or leave it out",
            )


def _test(registry: Registry, ancestor: Ancestor, base: Path, cache: Path) -> AncestorTest | None:
    release = ancestor.release
    told = registry.read_if_here(release.digest, "report.json")
    report = {} if told is None else json.loads(told)
    if not report.get("rows"):
        return None
    rows = rows_to_evaluate(ancestor.manifest, base=base, cache=cache, registry=registry).test
    answered = registry.read_if_here(release.digest, "predictions.jsonl")
    name = next((n for n in ancestor.manifest.evaluate.metrics if _is_score(n)), None)
    if answered is None or name is None or rows_digest(rows) != report["rows_digest"]:
        raise Refused(
            f"what `{ancestor.ref}` was tested on is not here as it was then, so what is forgotten "
            "of it cannot be measured",
            hint="bring its test rows back, or set `evaluate.retention.ancestors = false`",
        )
    then = scored_then(answered, name)
    table = ancestor.manifest.evaluate.model_copy(
        update={"metrics": (name,), "samples": SamplesTable()}
    )
    earlier = {entry["ref"]: entry["now"] for entry in report.get("ancestors") or []}
    return AncestorTest(ancestor.ref, release.digest, tuple(rows), table, then, earlier)


def scored_then(predictions: bytes, metric: str) -> Floats:
    """[rows] what the candidate of a `predictions.jsonl` scored."""
    lines = read_json_lines(predictions)
    return np.array([line["scores"][CANDIDATE][metric] for line in lines], dtype=np.float64)


def _is_score(name: str) -> bool:
    found = metric(name)
    return found.is_mean and found.higher_is_better and found.absolute


def entries(
    tests: Sequence[AncestorTest],
    answers: Sequence[Sequence[Prediction]],
    confidence: float = CONFIDENCE,
) -> list[dict[str, Any]]:
    """The report's `ancestors`, nearest first: the scores of then and now, and the paired change.

    Args:
        answers: of the candidate, to the rows of each test.
        confidence: of the interval that has to be within the budget, which is told beside that at
            95 % where it is another.
    """
    return [_entry(test, given, confidence) for test, given in zip(tests, answers, strict=True)]


def _entry(test: AncestorTest, given: Sequence[Prediction], confidence: float) -> dict[str, Any]:
    judge = metric(test.metric)
    now = judge.per_example(judge.measured(given, test.rows))
    changes, groups = now - test.then, groups_of(test.rows)
    by_row = {"change": changes.tolist(), "group": None if groups is None else groups.tolist()}
    change = mean_gain_interval(changes, CONFIDENCE, groups)
    entry = {
        "ref": test.ref,
        "digest": test.digest,
        "metric": test.metric,
        "rows": len(test.rows),
        "then": float(test.then.mean()),
        "now": float(now.mean()),
        "change": float(changes.mean()),
        "low": change.low,
        "high": change.high,
        "earlier": dict(test.earlier),
        "by_row": by_row,
    }
    return _judged(entry, confidence)


def _judged(entry: Mapping[str, Any], confidence: float) -> dict[str, Any]:
    """An entry with the interval that has to be within the budget, if the report has another."""
    found = {key: value for key, value in entry.items() if key != "budget"}
    if confidence == CONFIDENCE:
        return found
    changes, groups = (entry["by_row"][name] for name in ("change", "group"))
    numbers = None if groups is None else np.asarray(groups, dtype=np.float64)
    within = mean_gain_interval(np.asarray(changes, dtype=np.float64), confidence, numbers)
    return {**found, "budget": {"confidence": confidence, "low": within.low, "high": within.high}}


def entries_at(
    found: Sequence[Mapping[str, Any]], confidence: float
) -> list[dict[str, Any]] | None:
    """A report's `ancestors`, to be judged at another confidence; None of a version that kept no
    rows, if it is another than that version judged at."""
    if all("by_row" in entry for entry in found):
        return [_judged(entry, confidence) for entry in found]
    at = next((float(e["budget"]["confidence"]) for e in found if "budget" in e), CONFIDENCE)
    return [dict(entry) for entry in found] if at == confidence else None


def transfer_outcomes(
    found: Sequence[Mapping[str, Any]], table: RetentionTable
) -> list[GateOutcome]:
    """The budget's verdict on each ancestor, by the whole interval of its change as every budget
    against forgetting; none where no budget is set."""
    budget = table.max_ancestor_loss
    return [] if budget is None else [_outcome(budget, entry) for entry in found]


def _outcome(budget: float, entry: Mapping[str, Any]) -> GateOutcome:
    ref, judged = entry["ref"], entry.get("budget", entry)
    at = at_confidence(judged.get("confidence", CONFIDENCE))
    return within_budget(
        "retention",
        ref,
        min(1.0, -judged["low"]),  # nobody can lose more than all
        -entry["change"],
        budget,
        f"test rows of {ref}: {entry['metric']} {entry['then']:.1%} → {entry['now']:.1%} "
        f"({entry['change'] * 100:+.1f} points [{judged['low'] * 100:+.1f}, "
        f"{judged['high'] * 100:+.1f}]{at})",
        f"−{budget * 100:.1f} points",
    )


def backward_transfer(found: Sequence[Mapping[str, Any]]) -> float:
    """The mean change over the ancestors, negative where something was forgotten."""
    return float(np.mean([entry["change"] for entry in found]))


def matrix(name: str, found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each release, the oldest first, and a column for each one's test rows: what it
    scored there, as far as it was asked.

    Args:
        name: of the release that was trained.
        found: the report's `ancestors`, nearest first.
    """
    oldest = [*found][::-1]
    columns = [entry["ref"] for entry in oldest]
    lines = [["release", *columns]]
    for entry in oldest:
        scores = {**entry["earlier"], entry["ref"]: entry["then"]}
        lines.append([entry["ref"], *(_shown(scores.get(column)) for column in columns)])
    lines.append([name, *(_shown(entry["now"]) for entry in oldest)])
    return lines


def _shown(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"
