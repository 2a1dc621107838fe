"""Right or wrong: exact match, accuracy, macro-F1.

`exact_match` forgives white space only; `accuracy` and `macro_f1` take the answer's first line as a
label and forgive case and punctuation too (`builders/data/wording.py`); signs and symbols they do
not: `C++` is not `C#`, and `-1` not `1`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.wording import alike
from adapterworks.builders.evaluation.metrics.metric import Floats, Metric, Prediction, mean_metric


def label(text: str) -> str:
    """An answer as a label: its first line, without case, spacing and punctuation."""
    return alike(next((line for line in text.splitlines() if line.strip()), ""))


def _exact(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    return [
        float(p.text.split() == r.answer.split()) for p, r in zip(predictions, rows, strict=True)
    ]


def _accurate(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    return [float(label(p.text) == label(r.answer)) for p, r in zip(predictions, rows, strict=True)]


def _counts(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
    """[n, 3·C]: per class of the references, whether an example is hit, predicted and true."""
    truths = [label(row.answer) for row in rows]
    classes = {name: index for index, name in enumerate(sorted(set(truths)))}
    counts = np.zeros((len(rows), 3, len(classes)))
    for example, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        predicted = label(prediction.text)
        counts[example, 0, classes[truth]] = predicted == truth
        if predicted in classes:
            counts[example, 1, classes[predicted]] = 1
        counts[example, 2, classes[truth]] = 1
    return counts.reshape(len(rows), -1)


def _macro_f1(sums: Floats, count: float) -> Floats:
    """Mean F1 over the classes that occur among the true or predicted labels of the sample."""
    hit, predicted, true = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    occurs = predicted + true
    f1 = np.divide(2 * hit, occurs, out=np.zeros_like(hit), where=occurs > 0)
    return np.asarray(f1.sum(axis=-1) / np.maximum((occurs > 0).sum(axis=-1), 1))


EXACT_MATCH = mean_metric(
    "exact_match", "The answer equals the reference, white space aside", _exact
)
ACCURACY = mean_metric(
    "accuracy",
    "The answer's first line equals the reference's, case and punctuation aside",
    _accurate,
)
MACRO_F1 = Metric(
    name="macro_f1",
    description="Mean F1 over the reference answers as classes: rare ones weigh as frequent ones",
    statistics=_counts,
    aggregate=_macro_f1,
    per_example=lambda stats: stats.reshape(len(stats), 3, -1)[:, 0].sum(axis=-1),
)
