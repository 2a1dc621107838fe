"""The scores of a watch on disk, row after row: a kill costs what was being asked and no more.

The first line says what is compared; then one line a row: its place in the order, the score of the
watched release, and that of the reference.

Invariant: each whole line is the next in order; what a kill has torn off is written again. One
process holds the file (`data/journal.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.journal import Journal, open_journal
from adapterworks.manifests.digests import canonical_json, digest_json
from adapterworks.manifests.errors import Conflict, IntegrityError

Scores = tuple[float, float]


class ScoreLog:
    """The scores of one comparison; made by `open_score_log`."""

    def __init__(self, lines: Journal, scores: list[Scores]) -> None:
        self._lines = lines
        self._scores = scores

    def __len__(self) -> int:
        return len(self._scores)

    @property
    def scores(self) -> NDArray[np.float64]:
        """[rows, 2]: watched and reference, in the order in which they were asked."""
        return np.asarray(self._scores, dtype=np.float64).reshape(-1, 2)

    def add(self, scores: Sequence[Scores]) -> None:
        """Keep the next rows; they are on the disk when this returns."""
        first = len(self._scores)
        self._lines.add(json.dumps([first + at, *pair]).encode() for at, pair in enumerate(scores))
        self._scores += scores


@contextmanager
def open_score_log(folder: Path, identity: Mapping[str, Any]) -> Iterator[ScoreLog]:
    """Hold the scores of what has this identity.

    Raises:
        Conflict: another process is watching the same.
        IntegrityError: the file is another comparison's, or a line is not the next in order.
    """
    path = folder / f"{digest_json(identity).removeprefix('sha256:')[:32]}.jsonl"
    head = canonical_json(identity)
    heads: list[bytes] = []
    scores: list[Scores] = []

    def take(line: bytes) -> bool:
        if not heads:
            if line != head:
                raise IntegrityError(f"`{path}` is of another comparison", hint="move it away")
            heads.append(line)
            return True
        pair = _pair(line, len(scores))
        if pair is not None:
            scores.append(pair)
        return pair is not None

    busy = Conflict(
        f"another process is watching the same, in `{path}`",
        hint="wait for it, or end it: what it asked is kept",
    )
    with open_journal(path, take, busy) as lines:
        if not heads:
            lines.add([head])
        yield ScoreLog(lines, scores)


def _pair(line: bytes, number: int) -> Scores | None:
    try:
        at, watched, reference = json.loads(line)
        if at == number:
            return float(watched), float(reference)
    except (ValueError, TypeError):
        pass
    return None
