"""Evaluation: base, current `prod` and candidate on the same rows, through the same code.

Invariant: the report is a function of the rows, the predictions, the manifest's `[evaluate]` table
and the seed. The candidate is compared with every other subject on the same rows, paired; gates
read those gains and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from adapterworks.builders.data.render import encode_rows
from adapterworks.builders.data.rows import Row, rows_digest
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.asking import asked
from adapterworks.builders.evaluation.comparison import CANDIDATE, NATIVE, Comparison, compare
from adapterworks.builders.evaluation.gates import QUALITY_GATES
from adapterworks.builders.evaluation.gates.gate import GateOutcome, all_passed
from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.metrics import metric as metric_named
from adapterworks.builders.evaluation.metrics.metric import ANSWERS, LIKELIHOOD, Metric, Prediction
from adapterworks.builders.evaluation.retention import Retained, Scores, measure, retain
from adapterworks.builders.evaluation.statistics import holm
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import EvaluateTable

BASE = "base"
CONFIDENCE = 0.95  # of the report's own intervals; a gate has its own


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
        for index, row in enumerate(rows, 1):
            if row.text is not None:
                raise InvalidInput(
                    f"test row {row.number or index} is plain text, which has no answer to score: "
                    f"{row.excerpt(80)}",
                    hint='set `evaluate.metrics = ["perplexity"]` for continued pre-training',
                )
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
    return [
        Prediction(text, float(nll), int(count))
        for text, (nll, count) in zip(texts, likelihoods, strict=True)
    ]


def evaluate_subjects(
    subjects: Mapping[str, Subject],
    rows: Sequence[Row],
    table: EvaluateTable,
    *,
    engines: Engines,
    seed: int = 42,
    max_length: int = 1024,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Ask every subject of one engine, and evaluate; the report says which engine that was.

    Args:
        subjects: as `evaluate_generators`; `native` may be asked elsewhere, the others may not.
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
        raise InvalidInput("there are no test rows to evaluate on", hint="set `data.test`")
    if CANDIDATE not in predictions:
        raise InvalidInput("there is no candidate to evaluate")
    metrics = _metrics(table)
    comparisons = compare(metrics, rows, predictions, table.bootstrap_samples, seed)
    gates = [
        QUALITY_GATES.named(gate.kind).judge(gate, comparisons[gate.metric]) for gate in table.gates
    ]
    gates += retention.outcomes if retention else ()
    report = {
        "schema_version": 1,
        "rows": len(rows),
        "rows_digest": rows_digest(rows),
        "subjects": [*predictions],
        "confidence": CONFIDENCE,
        "bootstrap_samples": table.bootstrap_samples,
        "seed": seed,
        "metrics": _entries(comparisons),
        "slices": _slices(metrics, rows, predictions, table.bootstrap_samples, seed),
        "retention": retention.report if retention else None,
        "gates": [gate.to_json() for gate in gates],
        "passed": all_passed(gates),
    }
    return Evaluation(report, tuple(_lines(rows, predictions, comparisons)), tuple(gates))


def needs_of(table: EvaluateTable) -> set[str]:
    """What the table's metrics need of a model: `text`, `likelihood`."""
    return {metric.needs for metric in _metrics(table)}


def _metrics(table: EvaluateTable) -> list[Metric]:
    """The metrics the table names, those of its gates included, each once."""
    names = dict.fromkeys((*table.metrics, *(gate.metric for gate in table.gates)))
    return [metric_named(name) for name in names]


def _entries(comparisons: Mapping[str, Comparison]) -> dict[str, Any]:
    """The report's `metrics`: values, intervals and gains, p-values corrected over all of them."""
    entries = {name: _entry(comparison) for name, comparison in comparisons.items()}
    gains = [gain for entry in entries.values() for gain in entry["gains"].values()]
    for gain, adjusted in zip(gains, holm([gain["p"] for gain in gains]), strict=True):
        gain["p_holm"] = adjusted
        gain["significant"] = adjusted < 1 - CONFIDENCE
    return entries


def _entry(comparison: Comparison) -> dict[str, Any]:
    gains: dict[str, Any] = {}
    for reference in comparison.subjects:
        if reference != CANDIDATE:
            bounds = comparison.gain_interval(reference, CONFIDENCE)
            p_value, test = comparison.p_value(reference)
            gains[reference] = {
                "gain": comparison.gain(reference),
                "low": bounds.low,
                "high": bounds.high,
                "p": p_value,
                "test": test,
            }
    intervals = {name: comparison.interval(name, CONFIDENCE) for name in comparison.subjects}
    return {
        "unit": comparison.metric.unit,
        "needs": comparison.metric.needs,
        "higher_is_better": comparison.metric.higher_is_better,
        "values": {name: comparison.value(name) for name in comparison.subjects},
        "intervals": {name: [bounds.low, bounds.high] for name, bounds in intervals.items()},
        "gains": gains,
    }


def _slices(
    metrics: Sequence[Metric],
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """The report's `slices`: the same entries on the parts of the rows that the rows belong to.

    A row says so itself, in `meta["slices"]`: names, by its recipe or as a column of a file.
    """
    slices = {}
    belongs = [_slices_of(row) for row in rows]
    for name in dict.fromkeys(name for names in belongs for name in names):
        chosen = [index for index, names in enumerate(belongs) if name in names]
        part = [rows[index] for index in chosen]
        given = {s: [all_[index] for index in chosen] for s, all_ in predictions.items()}
        entries = _entries(compare(metrics, part, given, samples, seed))
        slices[name] = {"rows": len(part), "metrics": entries}
    return slices


def _slices_of(row: Row) -> tuple[str, ...]:
    given = row.meta.get("slices") or ()
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise InvalidInput(
            f"`slices` of test row {row.number} is not a list of names: {given!r}",
            hint='write `"slices": ["urgent"]`',
        )
    return tuple(given)


def _lines(
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
    comparisons: Mapping[str, Comparison],
) -> Iterator[dict[str, Any]]:
    """The lines of predictions.jsonl: what was asked, what was right, what each subject said."""
    scores = {
        (name, subject): comparison.metric.per_example(comparison.statistics[subject]).tolist()
        for name, comparison in comparisons.items()
        for subject in comparison.subjects
    }
    scored = any(prediction.tokens for given in predictions.values() for prediction in given)
    for index, row in enumerate(rows):
        likelihoods = {
            subject: [given[index].nll, given[index].tokens]
            for subject, given in predictions.items()
        }
        yield {
            "row": index + 1,
            "prompt": [*row.prompt] if row.text is None else row.text,
            "reference": None if row.text is not None else row.answer,
            "answers": {subject: given[index].text for subject, given in predictions.items()},
            "scores": {
                subject: {name: scores[name, subject][index] for name in comparisons}
                for subject in predictions
            },
            # Nats and tokens of the reference, so that it can be judged again without being asked.
            **({"likelihoods": likelihoods} if scored else {}),
        }
