"""What the metrics of an `[evaluate]` table need of a model and of the rows, and who lacks it.

Invariant: what the evaluation would refuse after a training is refused here, before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.render import Encoded, encode_rows, render_prompts
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.steps import separator_of
from adapterworks.builders.evaluation.gates import QUALITY_GATES
from adapterworks.builders.evaluation.metrics import metric as metric_named
from adapterworks.builders.evaluation.metrics.metric import (
    ANSWERS,
    JUDGED,
    LIKELIHOOD,
    PREFERENCE,
    STEPS,
    VERDICT,
    Metric,
)
from adapterworks.builders.evaluation.retention import require_retention
from adapterworks.builders.evaluation.safety.measure import require_measurable
from adapterworks.builders.objectives.examples import encode_answers
from adapterworks.builders.objectives.steps import encode_steps
from adapterworks.builders.objectives.verdicts import encode_verdicts
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.objective import NEAREST

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_UNCUT = 2**20


def require_answers(rows: Sequence[Row]) -> None:
    """Refuse rows that nothing can be asked of.

    Raises:
        InvalidInput: a row is plain text.
    """
    for index, row in enumerate(rows, 1):
        if row.text is not None:
            raise InvalidInput(
                f"test row {row.number or index} is plain text, which has no answer to score: "
                f"{row.excerpt(80)}",
                hint='set `evaluate.metrics = ["perplexity"]` for continued pre-training',
            )


def require_pairs(rows: Sequence[Row]) -> None:
    """Refuse rows that there is nothing to compare in.

    Raises:
        InvalidInput: a row has one answer.
    """
    for index, row in enumerate(rows, 1):
        if not row.others:
            raise InvalidInput(
                f"test row {row.number or index} has one answer, and a metric compares two: "
                f"{row.excerpt(80)}",
                hint="leave `preference_…` and `verdict_…` out of `evaluate.metrics`, or use rows "
                "of pairs",
            )


def require_steps(rows: Sequence[Row]) -> None:
    """Refuse rows in which there is no step to judge.

    Raises:
        InvalidInput: a row's answer is not in steps.
    """
    for index, row in enumerate(rows, 1):
        if not row.steps:
            raise InvalidInput(
                f"test row {row.number or index} has no judged steps, and a metric judges them: "
                f"{row.excerpt(80)}",
                hint='leave `step_…` out of `evaluate.metrics`, or use `data.format = "stepwise"`',
            )


def encode_judged_steps(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Encoded]:
    """Each row's prompt and the steps of its own answer, none of them cut.

    Raises:
        InvalidInput: as `require_steps` and `encode_steps`.
    """
    require_steps(rows)
    steps = [[step for step, _ in row.steps] for row in rows]
    return encode_steps(tokenizer, rows, steps, [separator_of(row) for row in rows], _UNCUT)


def check_test_rows(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], table: EvaluateTable, max_length: int
) -> None:
    """Refuse before a training what the evaluation after it would refuse.

    Raises:
        InvalidInput: a row is plain text under a metric of answers, has one answer under a metric
            of two, or the template refuses it; no candidate could pass a gate; or as
            `require_measurable`.
        Refused: a metric cannot be measured here.
        NotFound: what retention is measured on is not installed.
    """
    check_metrics(table)
    require_measurable(tokenizer, table.safety, table.budget_confidence)
    if rows and table.retention.on:
        require_retention(table.retention, table.budget_confidence)
    for gate in table.gates if rows else ():
        kind, measured = QUALITY_GATES.named(gate.kind), metric_named(gate.metric)
        if (why := kind.hopeless(gate, measured, len(rows))) is not None:
            raise InvalidInput(
                f"the gate on `{gate.metric}` could never pass: {why}",
                hint="ask for less, or take more test rows",
            )
    needs = needs_of(table)
    for metric in metrics_of(table) if rows else ():
        if metric.require is not None:
            metric.require(rows)
    if needs & {ANSWERS, JUDGED}:
        require_answers(rows)
        render_prompts(tokenizer, [row.prompt for row in rows], [row.tools for row in rows])
    if LIKELIHOOD in needs:
        encode_rows(tokenizer, rows, max_length)
    if needs & {PREFERENCE, VERDICT}:
        require_pairs(rows)
    if PREFERENCE in needs:
        encode_answers(tokenizer, rows, max_length, 2)
    if VERDICT in needs:
        encode_verdicts(tokenizer, rows, max_length, 2)
    if STEPS in needs:
        encode_judged_steps(tokenizer, rows)


def check_metrics(table: EvaluateTable) -> None:
    """Refuse a baseline that a metric cannot be taken of, samples that none is taken of, and limits
    of what has no value by itself.

    Raises:
        InvalidInput: naming the metric.
    """
    if table.samples.n and not any(m.of_answers and m.binary for m in metrics_of(table)):
        raise InvalidInput(
            "`evaluate.samples` counts right answers, and no metric here tells right from wrong",
            hint="add one such as `exact_match` or `unit_tests` to `evaluate.metrics`, or leave "
            "`evaluate.samples` out",
        )
    judged = [metric.name for metric in metrics_of(table) if metric.needs == JUDGED]
    if judged and table.judge is None:
        raise InvalidInput(
            f"`{judged[0]}` is a judge's word, and nothing says who judges",
            hint='add `[evaluate.judge]` with `endpoint = "URL#MODEL"`, or leave the metric out',
        )
    for gate in table.gates:
        if gate.kind == "limit" and not metric_named(gate.metric).absolute:
            raise InvalidInput(
                f"a gate limits `{gate.metric}`, which is one half for the candidate by definition",
                hint='compare it: `against = "base"` and `min_gain`, without `kind` and `limit`',
            )
    if table.judge is not None and not needs_of(table) & {ANSWERS, JUDGED}:
        raise InvalidInput(
            "there are no answers to judge: none of the metrics needs one",
            hint="name a metric of answers in `evaluate.metrics`, such as `win_rate`",
        )
    unfit = [metric.name for metric in metrics_of(table) if not metric.of_answers]
    if table.baseline == NEAREST and unfit:
        raise InvalidInput(
            f"the nearest training row has an answer and no probabilities, so `{unfit[0]}` cannot "
            "be compared with it",
            hint='set `evaluate.baseline = "none"`, or leave the metric out',
        )


def of_answers(table: EvaluateTable, say: Callable[[str], None] | None = None) -> EvaluateTable:
    """The table without what an answer's text cannot show, gates of it included.

    Args:
        say: told what is left out.

    Raises:
        InvalidInput: nothing is left to measure.
    """
    unfit = {
        metric.name
        for metric in metrics_of(table)
        if not metric.of_answers or (metric.needs == JUDGED and table.judge is None)
    }
    metrics = tuple(name for name in table.metrics if name not in unfit)
    if not metrics:
        raise InvalidInput(
            f"{', '.join(f'`{name}`' for name in sorted(unfit))} cannot be measured by answers "
            "alone, which are all that an endpoint gives",
            hint="name a manifest with metrics of answers by `--manifest`, such as `exact_match`",
        )
    if unfit and say is not None:
        say(f"left out, as an endpoint gives answers only: {', '.join(sorted(unfit))}")
    gates = tuple(gate for gate in table.gates if gate.metric not in unfit)
    return table.model_copy(update={"metrics": metrics, "gates": gates})


def needs_of(table: EvaluateTable) -> set[str]:
    """What the table's metrics need of a model: `text`, `likelihood`, `preference`, `verdict`,
    `steps`; and `judged` of a judge."""
    return {metric.needs for metric in metrics_of(table)}


def metrics_of(table: EvaluateTable) -> list[Metric]:
    """The metrics the table names, those of its gates included, each once."""
    names = dict.fromkeys((*table.metrics, *(gate.metric for gate in table.gates)))
    return [metric_named(name) for name in names]
