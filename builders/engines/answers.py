"""What engines answered, kept by digest: the same question is not asked twice.

One file an answer, under the home's `cache/answers/`, named by the digest of everything that the
answer depends on. Invariant: a file is whole or not there; it is checked each time it is read, and
a damaged one is removed and asked anew. Nothing but time is lost when any of them is deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.engines.engine import Completion, Given, Ids, Sampling
from adapterworks.manifests.digests import DIGEST_PATTERN, digest_bytes, digest_json

SCHEMA = 1
MOST_BYTES = 256 << 20
"""Of all answers together; those that were not used for longest make room."""
UNUSED_S = 30 * 86400.0
"""What nobody used for so long, `adapters gc` removes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that an answer depends on, as JSON values; its digest is the answer's name.

    Attributes:
        adapter: `Subject.contents`.
    """

    kind: str
    engine: dict[str, Any]
    model: str
    adapter: str | None
    batch_size: int
    question: str

    @property
    def digest(self) -> str:
        """`sha256:…`."""
        return digest_json(
            {
                "schema": SCHEMA,
                "kind": self.kind,
                "engine": self.engine,
                "model": self.model,
                "adapter": self.adapter,
                "batch_size": self.batch_size,
                "question": self.question,
            }
        )


def completion_question(prompts: Sequence[Ids], sampling: Sampling) -> str:
    """Digest of what `complete` is asked."""
    return digest_json({"prompts": [list(p) for p in prompts], "sampling": sampling.to_json()})


def scoring_question(sequences: Sequence[Given]) -> str:
    """Digest of what `score` is asked."""
    return digest_json([[list(given.token_ids), given.start] for given in sequences])


def completions_to_json(answers: Sequence[Sequence[Completion]]) -> list[Any]:
    """As JSON values."""
    return [
        [[list(one.token_ids), list(one.logprobs), one.stop] for one in samples]
        for samples in answers
    ]


def completions_from_json(values: Sequence[Any]) -> list[tuple[Completion, ...]]:
    """What `completions_to_json` made."""
    return [
        tuple(Completion(tuple(ids), tuple(logprobs), stop) for ids, logprobs, stop in samples)
        for samples in values
    ]


def scores_to_json(answers: Sequence[NDArray[np.float64]]) -> list[Any]:
    """As JSON values."""
    return [values.tolist() for values in answers]


def scores_from_json(values: Sequence[Any]) -> list[NDArray[np.float64]]:
    """What `scores_to_json` made."""
    return [np.asarray(one, dtype=np.float64) for one in values]


class Answers:
    """The answers kept in one folder.

    Args:
        folder: made when the first one is kept.
        most_bytes: what all may take.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most = most_bytes

    def get(self, asked: Asked) -> list[Any] | None:
        """The answer, or None if it is not here; a damaged one is removed."""
        path = self._path(asked.digest)
        try:
            line, _, packed = path.read_bytes().partition(b"\n")
        except OSError:
            return None
        try:
            if line.decode("ascii") != _seal(asked, packed):
                raise ValueError("these are not the bytes that were kept for this question")
            answer: list[Any] = json.loads(zlib.decompress(packed))
        except (ValueError, zlib.error):
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # it was used now
        return answer

    def put(self, asked: Asked, answer: list[Any]) -> None:
        """Keep an answer; one that cannot be written is not kept, and nothing else happens."""
        packed = zlib.compress(json.dumps(answer, separators=(",", ":")).encode(), 6)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_seal(asked, packed).encode("ascii") + b"\n" + packed)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self._path(asked.digest))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return
        self._make_room()

    def _make_room(self) -> None:
        found = sorted(_stats(self._folder), reverse=True)  # the newest first
        total = 0
        for _, size, path in found:
            total += size
            if total > self._most:
                path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        if not DIGEST_PATTERN.fullmatch(digest):
            raise ValueError(f"no digest: {digest}")
        return self._folder / digest.removeprefix("sha256:")


def _seal(asked: Asked, packed: bytes) -> str:
    """Digest of the bytes and of the question they answer: another's answer is damage too."""
    return digest_bytes(asked.digest.encode("ascii") + packed)


def answers_folder(home: Path) -> Path:
    """Where a home keeps its answers."""
    return home / "cache" / "answers"


def forget_unused(folder: Path, *, unused: float = UNUSED_S, dry_run: bool = False) -> int:
    """Remove what nobody used for `unused` seconds; returns the bytes that this frees."""
    before, freed = time.time() - unused, 0
    for used, size, path in _stats(folder):
        if used < before:
            freed += size
            if not dry_run:
                path.unlink(missing_ok=True)
    return freed


def _stats(folder: Path) -> list[tuple[float, int, Path]]:
    """(last use, size, path) of every file there, half-written ones of dead writers included."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found
