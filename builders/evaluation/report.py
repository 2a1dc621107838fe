"""The parts of `report.json` and `predictions.jsonl` that an evaluation's comparisons come to.

Invariant: pure; every interval and p-value of the report is made here, at one confidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.comparison import (
    CANDIDATE,
    Comparison,
    compare_measured,
    groups_of,
    groups_of_part,
)
from adapterworks.builders.evaluation.metrics.metric import (
    JUDGED,
    PREFERENCE,
    VERDICT,
    Metric,
    Prediction,
)
from adapterworks.builders.evaluation.statistics import holm, share_interval
from adapterworks.manifests.errors import InvalidInput

CONFIDENCE = 0.95  # of the report's own intervals; a gate has its own


def entries(comparisons: Mapping[str, Comparison]) -> dict[str, Any]:
    """The report's `metrics`: values, intervals and gains, p-values corrected over all of them."""
    found = {name: _entry(comparison) for name, comparison in comparisons.items()}
    gains = [gain for entry in found.values() for gain in entry["gains"].values()]
    for gain, adjusted in zip(gains, holm([gain["p"] for gain in gains]), strict=True):
        gain["p_holm"] = adjusted
        gain["significant"] = adjusted < 1 - CONFIDENCE
    return found


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


def preferences(
    metrics: Sequence[Metric],
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
) -> dict[str, Any] | None:
    """How often the candidate finds the better answer likelier than a reference found it, which is
    the accuracy of its implicit reward log π/π₀; None where no metric compares answers."""
    if not any(metric.needs == PREFERENCE for metric in metrics):
        return None
    margins = {
        name: np.asarray([one.margin for one in given]) for name, given in predictions.items()
    }
    groups, found = groups_of(rows), {}
    for name, before in margins.items():
        if name != CANDIDATE:
            moved = (margins[CANDIDATE] > before).astype(np.float64)
            bounds = share_interval(moved, CONFIDENCE, groups)
            found[name] = {
                "reward_accuracy": float(moved.mean()),
                "interval": [bounds.low, bounds.high],
                "margin": float((margins[CANDIDATE] - before).mean()),
            }
    return found


def slices(
    comparisons: Mapping[str, Comparison], rows: Sequence[Row], samples: int, seed: int
) -> dict[str, Any]:
    """The report's `slices`: the same entries on the parts of the rows that the rows belong to.

    A row says so itself, in `meta["slices"]`: names, by its recipe or as a column of a file. What a
    row scored is what it scored in the whole: nothing is measured again.
    """
    found = {}
    belongs = [slices_of(row) for row in rows]
    metrics, groups = [one.metric for one in comparisons.values()], groups_of(rows)
    for name in dict.fromkeys(name for names in belongs for name in names):
        chosen = [index for index, names in enumerate(belongs) if name in names]
        measured = {
            metric: {subject: all_[chosen] for subject, all_ in one.statistics.items()}
            for metric, one in comparisons.items()
        }
        part = groups_of_part(groups, chosen)
        compared = compare_measured(metrics, part, measured, samples, seed)
        found[name] = {"rows": len(chosen), "metrics": entries(compared)}
    return found


def slices_of(row: Row) -> tuple[str, ...]:
    """The slices that a row says it belongs to.

    Raises:
        InvalidInput: it says something else.
    """
    given = row.meta.get("slices") or ()
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise InvalidInput(
            f"`slices` of test row {row.number} is not a list of names: {given!r}",
            hint='write `"slices": ["urgent"]`',
        )
    return tuple(given)


def lines(
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
    margins = [
        {subject: given[index].margin for subject, given in predictions.items()}
        for index in range(len(rows))
    ]
    paired = any(metric.metric.needs == PREFERENCE for metric in comparisons.values())
    judged = any(metric.metric.needs == VERDICT for metric in comparisons.values())
    compared = any(metric.metric.needs == JUDGED for metric in comparisons.values())
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
            **_apart("cut", predictions, index),
            **_apart("samples", predictions, index),
            **_apart("steps", predictions, index),
            **_apart("whole", predictions, index),
            **_apart("whole_samples", predictions, index),
            **({"margins": margins[index]} if paired else {}),
            **(
                {"verdicts": {s: p[index].verdict for s, p in predictions.items()}}
                if judged
                else {}
            ),
            **(
                {"judged": {s: p[index].judged for s, p in predictions.items()}} if compared else {}
            ),
        }


def _apart(
    name: str, predictions: Mapping[str, Sequence[Prediction]], index: int
) -> dict[str, Any]:
    """A line's `cut`, `samples`, `whole`, … of the subjects that have any."""
    values = {subject: getattr(given[index], name) for subject, given in predictions.items()}
    found = {subject: value for subject, value in values.items() if value}
    return {name: found} if found else {}
