"""The scores of a watch on disk, row after row: a kill costs what was being asked and no more.

The first line says what is compared; then one line a row: its place in the order, the score of the
watched release, and that of the reference.

Invariant: a line counts when it is whole and the next in order; what a kill has torn off is written
again. One process holds the file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from adapterworks.manifests.digests import canonical_json, digest_json
from adapterworks.manifests.errors import Conflict, IntegrityError

Scores = tuple[float, float]


class Kept:
    """The scores of one comparison; made by `kept`."""

    def __init__(self, file: BinaryIO, scores: list[Scores]) -> None:
        self._file = file
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
        lines = (json.dumps([first + at, *pair]) + "\n" for at, pair in enumerate(scores))
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._scores += scores


@contextmanager
def kept(folder: Path, identity: Mapping[str, Any]) -> Iterator[Kept]:
    """Hold the scores of what has this identity.

    Raises:
        Conflict: another process is watching the same.
        IntegrityError: the file is another comparison's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest_json(identity).removeprefix('sha256:')[:32]}.jsonl"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another process is watching the same, in `{path}`",
                hint="wait for it, or end it: what it asked is kept",
            ) from error
        yield Kept(file, _read(file, path, identity))


def _read(file: BinaryIO, path: Path, identity: Mapping[str, Any]) -> list[Scores]:
    """What is whole; the file ends there afterwards."""
    head = canonical_json(identity) + b"\n"
    first = file.readline()
    if first.endswith(b"\n") and first != head:
        raise IntegrityError(f"`{path}` is of another comparison", hint="move it away")
    scores: list[Scores] = []
    end = 0
    if first == head:
        end = len(head)
        for line in file:
            pair = _pair(line, len(scores))
            if pair is None:
                break
            scores.append(pair)
            end += len(line)
    file.seek(end)
    file.truncate()
    if not end:
        file.write(head)
    return scores


def _pair(line: bytes, number: int) -> Scores | None:
    try:
        at, watched, reference = json.loads(line)
        if line.endswith(b"\n") and at == number:
            return float(watched), float(reference)
    except (ValueError, TypeError):
        pass
    return None
