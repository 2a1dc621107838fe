"""What rows are for those who depend on them: token ids that are learnt, rows that are asked.

Invariant: a digest covers what is read and nothing of where it was read: two clones of a project
in two folders have equal ones. Encoded rows cover the template and the tokenizer too.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable

from adapterworks.builders.data.render import Encoded
from adapterworks.builders.data.rows import Row

# Keys of a row's `meta` that say where it came from, which no metric may depend on.
PROVENANCE = frozenset({"source", "row"})


def encoded_digest(sequences: Iterable[Encoded]) -> str:
    """`sha256:…` of sequences in order: token ids, labels, and further columns and values."""
    hasher = hashlib.sha256()
    for sequence in sequences:
        ids, labels = array("q", sequence.input_ids), array("q", sequence.labels)
        hasher.update(len(ids).to_bytes(8, "little") + ids.tobytes() + labels.tobytes())
        for name, column in sorted(sequence.columns.items()):
            hasher.update(f"column {name} {[*column]}".encode())
        for name, value in sorted(sequence.values.items()):
            hasher.update(f"value {name} {value}".encode())
    return "sha256:" + hasher.hexdigest()


def asked_digest(rows: Iterable[Row]) -> str:
    """`sha256:…` of rows in order, with what metrics, slices and rewards read of their `meta`."""
    hasher = hashlib.sha256()
    for row in rows:
        meta = {key: value for key, value in row.meta.items() if key not in PROVENANCE}
        line = json.dumps([row.digest, meta], sort_keys=True, ensure_ascii=False, default=str)
        hasher.update(line.encode() + b"\n")
    return "sha256:" + hasher.hexdigest()
