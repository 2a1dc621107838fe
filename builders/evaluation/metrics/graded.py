"""OpenAI's graders as metrics: the mean of what a grader gives the answers.

Invariant: an answer is worth the same as a metric and as a reward
(`builders/objectives/graders.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Metric, Prediction, mean_metric
from adapterworks.builders.objectives.graders import grade, grade_sampled
from adapterworks.manifests.graders import (
    GraderMetric,
    StringCheck,
    TextSimilarity,
    columns_of,
    leaves_of,
)


def of_grader(name: GraderMetric) -> Metric:
    """The metric of a manifest's grader."""
    grader = name.grader

    def score(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
        # A wrong answer may have no value, `log(0)`: it is worth nothing.
        pairs = zip(predictions, rows, strict=True)
        return [grade_sampled(grader, p.text, row) or 0.0 for p, row in pairs]

    def require(rows: Sequence[Row]) -> None:
        for row in rows:  # a column that it reads is there, and a formula has a value
            grade(grader, row.answer, row)

    made = mean_metric(
        str(name),
        f"OpenAI's grader `{grader.type}` of the manifest: mean over the rows",
        score,
        binary=isinstance(grader, StringCheck),
    )
    similar = [one for one in leaves_of(grader).values() if isinstance(one, TextSimilarity)]
    bleu = {one.evaluation_metric == "bleu" for one in similar}
    return replace(
        made,
        require=require,
        reads_columns="answer" not in columns_of(grader),
        packages=("sacrebleu",) * (True in bleu) + ("rouge-score",) * (False in bleu),
    )
