"""Rows of unusual length: often two rows run together, a whole file in a cell, or a torn export.

Robust z-score of the logarithm of the length in characters: distance from the median in median
absolute deviations × 1.4826 (Iglewicz & Hoaglin 1993); where more than half of the rows have one
length, in mean absolute deviations × 1.2533.
"""

from __future__ import annotations

from math import log
from statistics import fmean, median

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import full_text


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: largest deviation among training rows; threshold: accepted deviation."""
    train = rows["train"]
    lengths = [len(full_text(row)) for row in train]
    logs = [log(max(length, 1)) for length in lengths]
    if not logs:
        return Finding((), 0.0)
    middle = median(logs)
    deviations = [abs(value - middle) for value in logs]
    scale = 1.4826 * median(deviations) or 1.2533 * fmean(deviations)
    scores = [deviation / scale if scale else 0.0 for deviation in deviations]
    offences = [
        offence(
            "train",
            index,
            train[index],
            f"{lengths[index]} characters, {score:.1f} deviations from the median "
            f"{median(lengths):.0f}",
        )
        for index, score in enumerate(scores)
        if score > threshold
    ]
    return Finding(tuple(offences), max(scores))


GATE = Gate(
    name="length_outliers",
    description="Rows of unusual length; threshold: robust standard deviations from the median.",
    check=check,
    threshold=6.0,
    unit="positive",
)
