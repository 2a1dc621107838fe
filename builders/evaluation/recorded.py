"""An evaluation from the answers of an earlier one: nobody is asked again.

Invariant: the result is that of `evaluate` on the same rows and predictions, so changed gates, a
changed metric or other resamples judge exactly what was answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.evaluate import Evaluation, evaluate
from adapterworks.builders.evaluation.metrics import metric as metric_named
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.needs import needs_of
from adapterworks.builders.evaluation.retention import retain, scores_of
from adapterworks.builders.evaluation.safety.measure import compare_safety, refusals_of
from adapterworks.builders.evaluation.transfer import entries_at
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.evaluate_tables import EvaluateTable


def evaluate_again(
    rows: Sequence[Row],
    report: Mapping[str, Any],
    predictions: str,
    table: EvaluateTable,
    *,
    seed: int,
) -> Evaluation | None:
    """Judge recorded answers by a table; None if it needs what was not asked then.

    Args:
        rows: the test rows that were asked.
        report: the earlier evaluation's `report.json`.
        predictions: its `predictions.jsonl`.
        table: the manifest's `[evaluate]` now; what is asked by it must be unchanged.
        seed: of the bootstrap.
    """
    lines = [json.loads(line) for line in predictions.split("\n") if line]
    if len(lines) != len(rows) or not needs_of(table) <= needs_of_report(report):
        return None
    if table.judge and table.judge.endpoint != report.get("judge", {}).get("endpoint"):
        return None
    retention = None
    if table.retention.on:
        by_row = (report.get("retention") or {}).get("by_row")
        if not by_row:  # not asked, or by a version that kept no rows
            return None
        base, candidate = (scores_of(by_row[subject]) for subject in ("base", "candidate"))
        retention = retain(base, candidate, table.retention, table.budget_confidence)
    transfer = None
    if table.retention.ancestors:
        if (found := report.get("ancestors")) is None:
            return None
        if (transfer := entries_at(found, table.budget_confidence)) is None:
            return None
    safety = None
    if table.safety.on:
        asked = (report.get("safety") or {}).get("by_row")
        if not asked:
            return None
        refusals = {name: refusals_of(rows) for name, rows in asked.items()}
        safety = compare_safety(refusals, table.safety, table.budget_confidence)
    subjects = {subject: _predictions(lines, subject) for subject in report["subjects"]}
    evaluation = evaluate(
        rows,
        subjects,
        table,
        seed=seed,
        retention=retention,
        transfer=transfer,
        safety=safety,
    )
    said = ("engine", "judge") if table.judge is not None else ("engine",)
    kept = {name: report[name] for name in said if name in report}
    return replace(evaluation, report={**evaluation.report, **kept})


def needs_of_report(report: Mapping[str, Any]) -> set[str]:
    """What the metrics of a report needed of a model: `text`, `likelihood`, `preference`,
    `verdict`, `steps`.

    It says so itself; a report of an earlier version is asked by its metrics' names.
    """
    metrics = report["metrics"].items()
    try:
        return {entry.get("needs") or metric_named(name).needs for name, entry in metrics}
    except (InvalidInput, Refused):  # not installed any more, or code beside a manifest
        return set()


def _predictions(lines: Sequence[Mapping[str, Any]], subject: str) -> list[Prediction]:
    return [_prediction(line, subject) for line in lines]


def _prediction(line: Mapping[str, Any], subject: str) -> Prediction:
    """An answer of an earlier version has its reasoning with it."""
    written, samples = line["answers"][subject], tuple(line.get("samples", {}).get(subject, ()))
    said, drawn = spoken(written), tuple(spoken(one) for one in samples)
    return Prediction(
        said,
        *_numbers(line, subject),
        bool(line.get("cut", {}).get(subject)),
        drawn,
        line.get("judged", {}).get(subject, 0.5),
        tuple(line.get("steps", {}).get(subject, ())),
        line.get("whole", {}).get(subject, "" if said == written else written),
        tuple(line.get("whole_samples", {}).get(subject, () if drawn == samples else samples)),
    )


def _numbers(line: Mapping[str, Any], subject: str) -> tuple[float, int, float, float]:
    """Nats and tokens of the reference answer, and margin and verdict of the better of two."""
    nll, tokens = line.get("likelihoods", {}).get(subject, (0.0, 0))
    margin, verdict = (line.get(name, {}).get(subject, 0.0) for name in ("margins", "verdicts"))
    return nll, tokens, margin, verdict
