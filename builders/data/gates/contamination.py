"""Validation and test questions that were seen in training: a score on them proves nothing.

The largest share of a row's word 5-grams that occur in one training question (GPT-3 and PaLM used
13 and 8 on long documents; questions are short). The question's edges count as words. Grams that
many training questions share are no evidence where they are found, so that a template is no leak,
but do count where they are missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.gates.text import boilerplate, question_text, shingles

_WIDTH = 5


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of held-out rows found in training; threshold: share of a row's 5-grams."""
    train = [shingles(question_text(row), _WIDTH) for row in rows["train"]]
    common = boilerplate(train)
    where: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, document in enumerate(train):
        for shingle in document - common:
            where[shingle].append(index)
    whole = {document: index for index, document in reversed([*enumerate(train)])}
    offences, total = [], 0
    for split in ("validation", "test"):
        for index, row in enumerate(rows.get(split, ())):
            total += 1
            document = shingles(question_text(row), _WIDTH)
            telling = document - common
            hits = Counter(at for shingle in telling for at in where.get(shingle, ()))
            if hits:
                share, source = max(
                    (count / (count + len(document - train[at])), -at) for at, count in hits.items()
                )
                source = -source
            elif document and not telling and document in whole:
                # Nothing but template: then only the very same question is a leak.
                share, source = 1.0, whole[document]
            else:
                continue
            if share >= threshold:
                reason = f"{share:.0%} of its question is in training row "
                reason += str(number(rows["train"][source], source))
                offences.append(offence(split, index, row, reason))
    return Finding(tuple(offences), len(offences) / total if total else 0.0)


GATE = Gate(
    name="contamination",
    description="Validation and test rows found in training rows; "
    "threshold: share of n-grams found (0–1).",
    check=check,
    threshold=0.8,
    unit="share",
)
