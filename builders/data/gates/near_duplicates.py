"""Training rows that are almost an earlier one: Jaccard similarity of their word triples.

Candidates come from MinHash LSH (Broder 1997; datasketch) and each is confirmed on the exact sets,
so chance decides about speed only. What many rows share (`text.py`) is no evidence of likeness
where two rows have it, and is evidence of difference where only one has it. Exact repetitions are
another gate's.
"""

from __future__ import annotations

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.gates.text import Shingles, boilerplate, full_text, shingles

_WIDTH = 3
_PERMUTATIONS = 128
_SLACK = 0.15  # LSH looks this much below the threshold, so that it rarely misses a pair


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: share of training rows that are near repetitions; threshold: similarity."""
    from datasketch import MinHash, MinHashLSH

    train = rows["train"]
    documents = [shingles(full_text(row), _WIDTH) for row in train]
    common = boilerplate(documents)
    encoded = [
        [" ".join(shingle).encode() for shingle in sorted(document - common)]
        for document in documents
    ]
    index = MinHashLSH(threshold=max(threshold - _SLACK, 0.1), num_perm=_PERMUTATIONS)
    offences = []
    seen: set[str] = set()
    hashes = MinHash.generator(encoded, num_perm=_PERMUTATIONS, seed=1)
    for position, (document, signature) in enumerate(zip(documents, hashes, strict=True)):
        row = train[position]
        if document <= common or row.digest in seen:
            continue
        seen.add(row.digest)
        alike = [
            (_similarity(document, documents[other], common), -other)
            for other in index.query(signature)
        ]
        similarity, other = max(alike, default=(0.0, 0))
        if similarity >= threshold:
            reason = f"{similarity:.0%} like row {number(train[-other], -other)}"
            offences.append(offence("train", position, row, reason))
        index.insert(position, signature)
    return Finding(tuple(offences), len(offences) / len(train) if train else 0.0)


def _similarity(one: Shingles, other: Shingles, common: Shingles) -> float:
    alike = len((one & other) - common)
    return alike / (alike + len(one ^ other)) if alike else 0.0


GATE = Gate(
    name="near_duplicates",
    description="Training rows like an earlier one; "
    "threshold: Jaccard similarity of their shingles (0–1).",
    check=check,
    threshold=0.9,
    unit="share",
)
