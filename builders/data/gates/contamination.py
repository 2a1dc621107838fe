"""Validation and test questions that were seen in training: a score on them proves nothing.

The largest share of a row's word 5-grams that occur in one training question (GPT-3 and PaLM used
13 and 8 on long documents; questions are short). The question's edges count as words. Grams that
many training questions share are no evidence where they are found, so that a template is no leak,
but do count where they are missing (near-copies of one question are no template: `copies.py`). Test
questions are held against what the ancestors of a continued training learnt, too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.gates.text import question_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adapterworks.builders.data.gates.hashed import Documents, Numbers, Template
    from adapterworks.builders.data.rows import Row

_WIDTH = 5


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of held-out rows found in training; threshold: share of a row's 5-grams."""
    held = [
        (split, index, row)
        for split in ("validation", "test")
        for index, row in enumerate(rows.get(split, ()))
    ]
    if not held:
        return Finding((), 0.0)
    train, earlier = rows["train"], context.earlier
    found: dict[int, str] = {}
    for at, share, source in _seen([row for *_, row in held], train, threshold):
        found[at] = (
            f"{share:.0%} of its question is in training row {number(train[source], source)}"
        )
    # What an ancestor learnt is in the weights that this training begins with.
    tested = [at for at, (split, *_) in enumerate(held) if split == "test"] if earlier else []
    for place, share, _ in _seen([held[at][2] for at in tested], earlier, threshold):
        why = f"{share:.0%} of its question is in a row that an ancestor learnt"
        found.setdefault(tested[place], why)
    offences = [offence(*held[at], reason) for at, reason in sorted(found.items())]
    return Finding(tuple(offences), len(offences) / len(held))


def _seen(
    held: Sequence[Row], rows: Sequence[Row], threshold: float
) -> Iterator[tuple[int, float, int]]:
    """Position of a held-out row, share of its question, and the row that has so much of it."""
    best: dict[int, tuple[float, int]] = {}
    for at, share, source in _found(held, rows, threshold):
        if at not in best or share > best[at][0]:
            best[at] = share, source
    yield from ((at, *found) for at, found in sorted(best.items()))


def _found(
    held: Sequence[Row], rows: Sequence[Row], threshold: float
) -> Iterator[tuple[int, float, int]]:
    """As `_seen`, and perhaps several times for one row."""
    from adapterworks.builders.data.gates.copies import near_copies
    from adapterworks.builders.data.gates.hashed import Documents, template_of, within

    learnt = Documents(len(rows), lambda index: question_text(rows[index]), _WIDTH)
    asked = Documents(len(held), lambda index: question_text(held[index]), _WIDTH)
    template = template_of(learnt)
    where, whole = _places(learnt, asked, template)
    for at, document in enumerate(asked):
        telling = document[~within(document, template.common)]
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
            yield at, share, source
    for copy in near_copies(learnt, [*asked], template, threshold):
        yield copy.question, copy.share, copy.document


def _places(
    learnt: Documents, asked: Documents, template: Template
) -> tuple[dict[int, list[int]], dict[bytes, int]]:
    """Telling shingle that is asked for → training rows that have it; and, of documents that are
    nothing but template, the first training row that is the same."""
    import numpy as np

    from adapterworks.builders.data.gates.hashed import within

    telling, plain = [np.empty(0, np.uint64)], set()
    for document in asked:
        own = document[~within(document, template.common)]
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
