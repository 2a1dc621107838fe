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

import numpy as np

from adapterworks.builders.data.render import Encoded, encode_rows
from adapterworks.builders.data.rows import Row, rows_digest
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation import report
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.comparison import CANDIDATE, NATIVE, compare
from adapterworks.builders.evaluation.gates import QUALITY_GATES
from adapterworks.builders.evaluation.gates.gate import GateOutcome, all_passed
from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.metrics.metric import (
    ANSWERS,
    LIKELIHOOD,
    PREFERENCE,
    VERDICT,
    Prediction,
)
from adapterworks.builders.evaluation.nearest import nearest_answers
from adapterworks.builders.evaluation.needs import (
    metrics_of,
    needs_of,
    require_answers,
    require_pairs,
)
from adapterworks.builders.evaluation.retention import Retained, Scores, measure, retain
from adapterworks.builders.objectives.batch import CONTRAST
from adapterworks.builders.objectives.examples import encode_answers
from adapterworks.builders.objectives.verdicts import encode_verdicts
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import EvaluateTable
from adapterworks.manifests.objective import NEAREST

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


def predict(
    generator: Generator,
    rows: Sequence[Row],
    table: EvaluateTable,
    *,
    max_length: int = 1024,
    progress: Progress | None = None,
) -> list[Prediction]:
    """One subject's predictions on the rows: texts, likelihoods, or both, as the metrics need.

    Args:
        max_length: tokens of a row whose likelihood is scored.

    Raises:
        InvalidInput: an unknown metric, or a text row under a metric that needs answers.
    """
    needs = needs_of(table)
    texts = [""] * len(rows)
    if ANSWERS in needs:
        require_answers(rows)
        texts = generator.generate(
            [row.prompt for row in rows],
            tools=[row.tools for row in rows],
            max_new_tokens=table.max_new_tokens,
            batch_size=table.batch_size,
            progress=progress,
        )
    likelihoods = np.zeros((len(rows), 2))
    if LIKELIHOOD in needs:
        encoded = encode_rows(generator.tokenizer, rows, max_length)
        scored = generator.likelihood(encoded, batch_size=table.batch_size, progress=progress)
        np.add.at(likelihoods, [sequence.row for sequence in encoded], scored)
    margins = [0.0] * len(rows)
    if PREFERENCE in needs:
        margins = _margins(generator, rows, table, max_length, progress)
    verdicts = [0.0] * len(rows)
    if VERDICT in needs:
        verdicts = _verdicts(generator, rows, table, max_length, progress)
    return [
        Prediction(text, float(nll), int(count), margin, verdict)
        for text, (nll, count), margin, verdict in zip(
            texts, likelihoods, margins, verdicts, strict=True
        )
    ]


def _margins(
    generator: Generator,
    rows: Sequence[Row],
    table: EvaluateTable,
    max_length: int,
    progress: Progress | None,
) -> list[float]:
    """By how much each row's better answer is likelier than the next best, in nats."""
    require_pairs(rows)
    pairs = encode_answers(generator.tokenizer, rows, max_length, 2)
    scored = generator.likelihood(
        [sequence for pair in pairs for sequence in pair],
        batch_size=table.batch_size,
        progress=progress,
    )
    better, worse = scored[:, 0].reshape(-1, 2).T
    return [float(value) for value in worse - better]


def _verdicts(
    generator: Generator,
    rows: Sequence[Row],
    table: EvaluateTable,
    max_length: int,
    progress: Progress | None,
) -> list[float]:
    """By how much each row's better answer is judged better than the next best, in nats."""
    require_pairs(rows)
    sequences = [
        said
        for pair in encode_verdicts(generator.tokenizer, rows, max_length, 2)
        for sequence in pair
        for said in (sequence, _contrary(sequence))
    ]
    scored = generator.likelihood(sequences, batch_size=table.batch_size, progress=progress)
    good, bad = scored[:, 0].reshape(-1, 2).T
    better, worse = (bad - good).reshape(-1, 2).T
    return [float(value) for value in better - worse]


def _contrary(sequence: Encoded) -> Encoded:
    """The same sequence with the other verdict."""
    other = int(sequence.columns[CONTRAST][-1])
    return replace(
        sequence,
        input_ids=[*sequence.input_ids[:-1], other],
        labels=[*sequence.labels[:-1], other],
    )


def evaluate_subjects(
    subjects: Mapping[str, Subject],
    rows: Sequence[Row],
    table: EvaluateTable,
    *,
    engines: Engines,
    seed: int = 42,
    max_length: int = 1024,
    train: Sequence[Row] = (),
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Ask every subject of one engine, and evaluate; the report says which engine that was.

    Args:
        subjects: as `evaluate_generators`; `native` may be asked elsewhere, the others may not.
        train: the training rows, which `table.baseline` looks answers up in.
        engines: who may be asked; `table.engine` says which one is.
        say: told what is not asked of the engine that was wanted, and why.

    Raises:
        InvalidInput, Refused, Unavailable: as `evaluate_generators`, `Engines.session`, `Engine`.
    """
    compared = [subject for name, subject in subjects.items() if name != NATIVE]
    tokens = len(rows) * table.max_new_tokens
    with engines.session(table.engine, compared, tokens=tokens, say=say) as session:
        evaluation = evaluate_generators(
            {name: asked(session, subject) for name, subject in subjects.items()},
            rows,
            table,
            seed=seed,
            max_length=max_length,
            train=train,
            progress=progress,
        )
        return replace(evaluation, report={**evaluation.report, "engine": session.used()})


def evaluate_generators(
    subjects: Mapping[str, Callable[[], Generator]],
    rows: Sequence[Row],
    table: EvaluateTable,
    *,
    seed: int = 42,
    max_length: int = 1024,
    train: Sequence[Row] = (),
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
        train: as `evaluate_subjects`.
        progress: called with (subject, done, total).

    Raises:
        InvalidInput: as `predict` and `evaluate`.
    """
    predictions: dict[str, list[Prediction]] = {}
    retained: dict[str, Scores] = {}
    for name, open_subject in subjects.items():
        generator = open_subject()
        step = partial(progress, name) if progress else None
        predictions[name] = predict(generator, rows, table, max_length=max_length, progress=step)
        if table.retention.on and name in (BASE, CANDIDATE):
            retained[name] = measure(generator, table.retention, progress=step)
        del generator
    if table.baseline == NEAREST:
        predictions[NEAREST] = nearest_answers(train, rows)
    retention = None
    if BASE in retained and CANDIDATE in retained:
        retention = retain(retained[BASE], retained[CANDIDATE], table.retention)
    return evaluate(rows, predictions, table, seed=seed, retention=retention)


def evaluate(
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
    table: EvaluateTable,
    *,
    seed: int = 42,
    retention: Retained | None = None,
) -> Evaluation:
    """Scores, gains with intervals and p-values, and the gates' verdicts.

    Args:
        rows: the test rows.
        predictions: subject → one prediction per row; `candidate` is compared with all the others
            (`base`, `prod`, or any other name).
        table: the manifest's `[evaluate]`.
        seed: of the bootstrap.
        retention: of `adapterworks.builders.evaluation.retention.retain`, with its outcomes.

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
    told = {
        "schema_version": 1,
        "rows": len(rows),
        "rows_digest": rows_digest(rows),
        "subjects": [*predictions],
        "confidence": report.CONFIDENCE,
        "bootstrap_samples": table.bootstrap_samples,
        "seed": seed,
        "metrics": report.entries(comparisons),
        "slices": report.slices(metrics, rows, predictions, table.bootstrap_samples, seed),
        "preferences": report.preferences(metrics, predictions, table.bootstrap_samples, seed),
        "retention": retention.report if retention else None,
        "gates": [gate.to_json() for gate in gates],
        "passed": all_passed(gates),
    }
    return Evaluation(told, tuple(report.lines(rows, predictions, comparisons)), tuple(gates))
