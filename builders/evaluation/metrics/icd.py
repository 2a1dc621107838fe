"""ICD-10-CM: is the 3-character category right, and is at least the chapter?

The first thing in the answer that looks like a category counts; the reference is read alike.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric

_CATEGORY = re.compile(r"\b([A-Z][0-9][0-9A-Z])(?:\.[0-9A-Z]{1,4})?\b")
# The first category of each of the 22 chapters, in order (ICD-10-CM tabular list, FY 2026).
CHAPTERS = (
    *("A00", "C00", "D50", "E00", "F01", "G00", "H00", "H60", "I00", "J00", "K00"),
    *("L00", "M00", "N00", "O00", "P00", "Q00", "R00", "S00", "U00", "V00", "Z00"),
)


def category(text: str) -> str | None:
    """The first 3-character category in a text."""
    found = _CATEGORY.search(text.upper())
    return found.group(1) if found else None


def chapter(code: str | None) -> int | None:
    """A category's chapter, 1–22, by its range."""
    number = bisect_right(CHAPTERS, code) if code else 0
    return number or None


def _same_category(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    pairs = zip(predictions, rows, strict=True)
    return [float(category(p.text) == category(r.answer) is not None) for p, r in pairs]


def _same_chapter(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    pairs = zip(predictions, rows, strict=True)
    return [
        float(chapter(category(p.text)) == chapter(category(r.answer)) is not None)
        for p, r in pairs
    ]


ICD_CATEGORY = mean_metric(
    "icd_category", "The answer's 3-character ICD-10-CM category is the reference's", _same_category
)
ICD_CHAPTER = mean_metric(
    "icd_chapter", "The answer's category lies in the reference's ICD-10-CM chapter", _same_chapter
)
