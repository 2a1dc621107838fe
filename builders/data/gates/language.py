"""Rows in another language than the adapter's.

py3langid (Lui & Baldwin 2012's langid.py) over 97 languages, counted only where its calibrated
confidence is at least 0.8: names and codes are in no language. The gate speaks up when more rows
than the accepted share are foreign, and then names all of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.gates.text import prose

_CONFIDENT = 0.8
_LONGEST = 2000  # characters; more does not change the verdict
_SHORT = 300  # characters of the first look: where they are surely as expected, that is enough


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of rows in a foreign language; threshold: accepted share."""
    offences = []
    for split, members in rows.items():
        for index, row in enumerate(members):
            text = prose(row)[:_LONGEST]
            language, confidence = _identifier().classify(text[:_SHORT])
            if len(text) > _SHORT and not (
                confidence >= _CONFIDENT and language in context.languages
            ):
                language, confidence = _identifier().classify(text)
            if confidence >= _CONFIDENT and language not in context.languages:
                reason = f"language `{language}` ({confidence:.0%} sure)"
                offences.append(offence(split, index, row, reason))
    total = sum(len(members) for members in rows.values())
    share = len(offences) / total if total else 0.0
    return Finding(tuple(offences) if share > threshold else (), share)


def identify(text: str) -> str:
    """The likeliest language of a text, ISO 639-1."""
    return str(_identifier().classify(text)[0])


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


GATE = Gate(
    name="language",
    description="Rows in languages other than `adapter.language`; "
    "threshold: accepted share of rows (0–1).",
    check=check,
    threshold=0.02,
    unit="share",
)
