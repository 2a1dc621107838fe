"""Evaluation: base, current `prod` and candidate on the same rows, through the same code.

Invariant: the report is a function of the rows, the predictions, the manifest's `[evaluate]` table
and the seed. The candidate is compared with every other subject on the same rows, paired; gates
read those gains and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from adapterworks.builders.data.rows import Row, rows_digest
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation import report
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.comparison import CANDIDATE, NATIVE, compare
from adapterworks.builders.evaluation.gates import QUALITY_GATES
from adapterworks.builders.evaluation.gates.gate import GateOutcome, all_passed
from adapterworks.builders.evaluation.generator import Generator
from adapterworks.builders.evaluation.judge import judge_answers
from adapterworks.builders.evaluation.metrics.metric import (
    Prediction,
)
from adapterworks.builders.evaluation.nearest import nearest_answers
from adapterworks.builders.evaluation.needs import (
    metrics_of,
)
from adapterworks.builders.evaluation.predicting import predict
from adapterworks.builders.evaluation.remote import Remote
from adapterworks.builders.evaluation.retention import Retained, Scores, measure, retain
from adapterworks.builders.evaluation.safety.measure import (
    Refusals,
    Safety,
    compare_safety,
)
from adapterworks.builders.evaluation.safety.measure import ask as ask_safety
from adapterworks.builders.evaluation.sampled import sampled
from adapterworks.builders.evaluation.tokenizers import require_one_tokenizer
from adapterworks.builders.evaluation.transfer import AncestorTest, entries, transfer_outcomes
from adapterworks.builders.rewards.asking import Judge
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.objective import NEAREST, START

BASE = "base"


@dataclass(frozen=True)
class Evaluation:
    """The result: `report` for report.json, `predictions` for predictions.jsonl."""

    report: dict[str, Any]
    predictions: tuple[dict[str, Any], ...]
    gates: tuple[GateOutcome, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all_passed(self.gates)

    def with_gates(self, further: Sequence[GateOutcome]) -> Evaluation:
        """The same with further verdicts."""
        gates = (*self.gates, *further)
        told = {"gates": [gate.to_json() for gate in gates], "passed": all_passed(gates)}
        return replace(self, report={**self.report, **told}, gates=gates)

    def values(self, subject: str = CANDIDATE) -> dict[str, float]:
        """Metric name → value of one subject (for `Release.metrics`)."""
        return {
            name: entry["values"][subject]
            for name, entry in self.report["metrics"].items()
            if subject in entry["values"]
        }

    def predictions_jsonl(self) -> str:
        """`predictions.jsonl`."""
        lines = (json.dumps(line, ensure_ascii=False) for line in self.predictions)
        return "".join(f"{line}\n" for line in lines)


def evaluate_subjects(
    subjects: Mapping[str, Subject],
    rows: Sequence[Row],
    table: EvaluateTable,
    *,
    engines: Engines,
    seed: int = 42,
    max_length: int = 1024,
    train: Sequence[Row] = (),
    ancestors: Sequence[AncestorTest] = (),
    remotes: Mapping[str, Remote] | None = None,
    judge: Judge | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Ask every subject of one engine, and evaluate; the report says which engine that was.

    Args:
        subjects: as `evaluate_generators`; `native` may be asked elsewhere, the others may not.
        train: the training rows, which `table.baseline` looks answers up in.
        ancestors: whose test rows the candidate is asked too.
        engines: who may be asked; `table.engine` says which one is.
        remotes: subjects behind endpoints, by name; they are asked first.
        judge: who compares the candidate's answers with every other subject's.
        say: told what is not asked of the engine that was wanted, and why.

    Raises:
        InvalidInput, Refused, Unavailable: as `evaluate_generators`, `Engines.session`, `Engine`.
    """
    require_one_tokenizer(subjects, table, rows, max_length)
    compared = [subject for name, subject in subjects.items() if name != NATIVE]
    tokens = len(rows) * table.max_new_tokens * (1 + table.samples.n)
    away = {name: _ready(remote) for name, remote in (remotes or {}).items()}
    with engines.session(table.engine, compared, tokens=tokens, say=say) as session:
        here = asked(session, subjects)
        evaluation = evaluate_generators(
            {**away, **here},
            rows,
            table,
            seed=seed,
            max_length=max_length,
            train=train,
            ancestors=ancestors,
            judge=judge,
            progress=progress,
        )
        told = {**evaluation.report, "engine": session.used()}
        if remotes:
            told["endpoints"] = {name: remote.used() for name, remote in remotes.items()}
        return replace(evaluation, report=told)


def _ready(generator: Generator) -> Callable[[], Generator]:
    return lambda: generator


def evaluate_generators(
    subjects: Mapping[str, Callable[[], Generator]],
    rows: Sequence[Row],
    table: EvaluateTable,
    *,
    seed: int = 42,
    max_length: int = 1024,
    train: Sequence[Row] = (),
    ancestors: Sequence[AncestorTest] = (),
    judge: Judge | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Ask every subject, one after the other, and evaluate.

    Args:
        subjects: `candidate`, `base` and, where there is one, `prod` (or any other name); each is
            opened when its turn comes and let go before the next, so one model is in memory.
        rows: the test rows.
        table: the manifest's `[evaluate]`; retention is measured where it is on.
        seed: of the bootstrap.
        max_length: tokens of a row whose likelihood is scored.
        train, ancestors, judge: as `evaluate_subjects`.
        progress: called with (subject, done, total).

    Raises:
        InvalidInput: as `predict` and `evaluate`.
    """
    predictions: dict[str, list[Prediction]] = {}
    retained: dict[str, Scores] = {}
    refusals: dict[str, Refusals] = {}
    transfer: list[dict[str, Any]] | None = None
    for name, open_subject in subjects.items():
        generator = open_subject()
        step = partial(progress, name) if progress else None
        predictions[name] = predict(
            generator, rows, table, max_length=max_length, seed=seed, progress=step
        )
        if table.retention.on and name in (BASE, CANDIDATE):
            retained[name] = measure(generator, table.retention, progress=step)
        if table.safety.on and name in (BASE, START, CANDIDATE):
            refusals[name] = ask_safety(generator, table.safety, progress=step)
        if ancestors and name == CANDIDATE:
            again = [
                predict(generator, one.rows, one.table, max_length=max_length, progress=step)
                for one in ancestors
            ]
            transfer = entries(ancestors, again, table.budget_confidence)
        del generator
    if table.baseline == NEAREST:
        predictions[NEAREST] = nearest_answers(train, rows)
    retention = None
    if BASE in retained and CANDIDATE in retained:
        retention = retain(
            retained[BASE], retained[CANDIDATE], table.retention, table.budget_confidence
        )
    safety = None
    if CANDIDATE in refusals:
        safety = compare_safety(refusals, table.safety, table.budget_confidence)
    told = partial(
        evaluate,
        table=table,
        seed=seed,
        retention=retention,
        transfer=transfer,
        safety=safety,
    )
    if judge is None:
        return told(rows, predictions)
    step = partial(progress, "judge") if progress else None
    judged = judge_answers(judge, rows, predictions, progress=step)
    evaluation = told(rows, judged.told(predictions))
    return replace(evaluation, report={**evaluation.report, "judge": judged.report})


def evaluate(
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
    table: EvaluateTable,
    *,
    seed: int = 42,
    retention: Retained | None = None,
    transfer: Sequence[Mapping[str, Any]] | None = None,
    safety: Safety | None = None,
) -> Evaluation:
    """Scores, gains with intervals and p-values, and the gates' verdicts.

    Args:
        rows: the test rows.
        predictions: subject → one prediction per row; `candidate` is compared with all the others
            (`base`, `prod`, or any other name).
        table: the manifest's `[evaluate]`.
        seed: of the bootstrap.
        retention: of `adapterworks.builders.evaluation.retention.retain`, with its outcomes.
        transfer: of `adapterworks.builders.evaluation.transfer.entries`.
        safety: of `adapterworks.builders.evaluation.safety.measure.compare_safety`.

    Raises:
        InvalidInput: no rows, no candidate, or an unknown metric.
    """
    if not rows:
        raise InvalidInput(
            "there are no test rows to evaluate on",
            hint="set `data.test`, or hold rows out with `data.test_share`",
        )
    if CANDIDATE not in predictions:
        raise InvalidInput("there is no candidate to evaluate")
    metrics = metrics_of(table)
    comparisons = compare(metrics, rows, predictions, table.bootstrap_samples, seed)
    gates = [
        QUALITY_GATES.named(gate.kind).judge(gate, comparisons[gate.metric]) for gate in table.gates
    ]
    gates += retention.outcomes if retention else ()
    gates += transfer_outcomes(transfer or (), table.retention)
    gates += safety.outcomes if safety else ()
    told = {
        "schema_version": 1,
        "rows": len(rows),
        "rows_digest": rows_digest(rows),
        "subjects": [*predictions],
        "confidence": report.CONFIDENCE,
        "bootstrap_samples": table.bootstrap_samples,
        "seed": seed,
        "metrics": report.entries(comparisons),
        "slices": report.slices(comparisons, rows, table.bootstrap_samples, seed),
        "preferences": report.preferences(metrics, rows, predictions),
        "cut": {
            name: sum(one.cut for one in given)
            for name, given in predictions.items()
            if any(one.cut for one in given)
        },
        "samples": sampled(metrics, rows, predictions, table.samples),
        "retention": retention.report if retention else None,
        **({"ancestors": transfer} if transfer else {}),
        **({"safety": safety.report} if safety else {}),
        "gates": [gate.to_json() for gate in gates],
        "passed": all_passed(gates),
    }
    return Evaluation(told, tuple(report.lines(rows, predictions, comparisons)), tuple(gates))
