"""Training rows that are almost an earlier one: Jaccard similarity of their word triples.

Candidates come from MinHash and bands (Broder 1997; `hashed.py`) and each is confirmed on the exact
sets, so chance decides about speed only. What many rows share is no evidence of likeness where two
rows have it, and is evidence of difference where only one has it. Exact repetitions are another
gate's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.gates.text import full_text
from adapterworks.builders.data.many import digests, short

if TYPE_CHECKING:
    from adapterworks.builders.data.gates.hashed import Numbers

_WIDTH = 3
_PERMUTATIONS = 128
_SLACK = 0.15  # candidates are looked for this much below the threshold: few pairs are missed


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training rows that are near repetitions; threshold: similarity."""
    from adapterworks.builders.data.gates.hashed import (
        Documents,
        candidates,
        common_shingles,
        signatures,
        within,
    )

    train = rows["train"]
    documents = Documents(len(train), lambda index: full_text(train[index]), _WIDTH)
    common = common_shingles(documents)
    # Not kept: of many rows the signatures are what takes most.
    found = candidates(
        signatures(documents, common, _PERMUTATIONS, seed=1), max(threshold - _SLACK, 0.1)
    )
    repeated = _repeated(digests(train))
    offences = []
    for position in sorted(found):
        document = documents.document(position)
        if position in repeated or within(document, common).all():
            continue
        alike = [
            (_similarity(document, documents.document(other), common), -other)
            for other in found[position]
            if other not in repeated
        ]
        similarity, other = max(alike, default=(0.0, 0))
        if similarity >= threshold and similarity > 0:
            reason = f"{similarity:.0%} like row {number(train[-other], -other)}"
            offences.append(offence("train", position, train[position], reason))
    return Finding(tuple(offences), len(offences) / len(train) if train else 0.0)


def _repeated(told: Iterable[str]) -> set[int]:
    """Rows that an earlier one is equal to, by digests."""
    seen: set[bytes] = set()
    found = set()
    for position, digest in enumerate(told):
        key = short(digest)
        if key in seen:
            found.add(position)
        seen.add(key)
    return found


def _similarity(one: Numbers, other: Numbers, common: Numbers) -> float:
    import numpy as np

    from adapterworks.builders.data.gates.hashed import within

    shared = np.intersect1d(one, other, assume_unique=True)
    alike = len(shared) - int(within(shared, common).sum())
    return alike / (alike + len(one) + len(other) - 2 * len(shared)) if alike else 0.0


GATE = Gate(
    name="near_duplicates",
    description="Training rows like an earlier one; "
    "threshold: Jaccard similarity of their shingles (0–1).",
    check=check,
    threshold=0.9,
    unit="share",
)
