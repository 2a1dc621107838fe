"""Validation and test questions that were seen in training: a score on them proves nothing.

The largest share of a row's word 5-grams that occur in one training question (GPT-3 and PaLM used
13 and 8 on long documents; questions are short). The question's edges count as words. Grams that
many training questions share are no evidence where they are found, so that a template is no leak,
but do count where they are missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.gates.text import question_text

if TYPE_CHECKING:
    from adapterworks.builders.data.gates.hashed import Documents, Numbers

_WIDTH = 5


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of held-out rows found in training; threshold: share of a row's 5-grams."""
    from adapterworks.builders.data.gates.hashed import Documents, common_shingles, within

    held = [
        (split, index, row)
        for split in ("validation", "test")
        for index, row in enumerate(rows.get(split, ()))
    ]
    train = rows["train"]
    if not held:
        return Finding((), 0.0)
    learnt = Documents(len(train), lambda index: question_text(train[index]), _WIDTH)
    asked = Documents(len(held), lambda index: question_text(held[index][2]), _WIDTH)
    common = common_shingles(learnt)
    where, whole = _places(learnt, asked, common)
    offences = []
    for at, (split, index, row) in enumerate(held):
        document = asked.document(at)
        telling = document[~within(document, common)]
        hits = Counter(place for shingle in telling.tolist() for place in where.get(shingle, ()))
        if hits:
            share, source = max(
                (count / (count + _missing(document, learnt.document(place))), -place)
                for place, count in hits.items()
            )
            source = -source
        elif len(document) and not len(telling) and document.tobytes() in whole:
            # Nothing but template: then only the very same question is a leak.
            share, source = 1.0, whole[document.tobytes()]
        else:
            continue
        if share >= threshold:
            reason = f"{share:.0%} of its question is in training row "
            reason += str(number(train[source], source))
            offences.append(offence(split, index, row, reason))
    return Finding(tuple(offences), len(offences) / len(held))


def _places(
    learnt: Documents, asked: Documents, common: Numbers
) -> tuple[dict[int, list[int]], dict[bytes, int]]:
    """Telling shingle that is asked for → training rows that have it; and, of documents that are
    nothing but template, the first training row that is the same."""
    import numpy as np

    from adapterworks.builders.data.gates.hashed import within

    telling, plain = [], set()
    for document in asked:
        own = document[~within(document, common)]
        telling.append(own)
        if len(document) and not len(own):
            plain.add(document.tobytes())
    wanted = np.unique(np.concatenate(telling))
    where: dict[int, list[int]] = defaultdict(list)
    whole: dict[bytes, int] = {}
    for place, document in enumerate(learnt):
        for shingle in document[within(document, wanted)].tolist():
            where[shingle].append(place)
        if plain and (key := document.tobytes()) in plain:
            whole.setdefault(key, place)
    return where, whole


def _missing(document: Numbers, other: Numbers) -> int:
    """Shingles of a document that another one does not have."""
    from adapterworks.builders.data.gates.hashed import within

    return int((~within(document, other)).sum())


GATE = Gate(
    name="contamination",
    description="Validation and test rows found in training rows; "
    "threshold: share of n-grams found (0–1).",
    check=check,
    threshold=0.8,
    unit="share",
)
