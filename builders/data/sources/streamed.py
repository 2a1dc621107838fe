"""Records of a file that is too large to hold: read as somebody asks for them, each time anew.

Invariant: the records are those of the bytes whose digest is told: a file that changes between the
digest and the end of a reading is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adapterworks.builders.data.sources.record import Record
from adapterworks.builders.data.sources.tables import read_parquet
from adapterworks.builders.data.sources.text import read_lines
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput

LARGE = 64 << 20
"""Bytes from which on a file is not read as a whole."""


@dataclass(frozen=True)
class Streamed:
    """One file's records; iterating again reads it again.

    Attributes:
        path: of JSON Lines or Parquet, not compressed.
        digest: `sha256:…` of its bytes.
    """

    path: Path
    digest: str

    def __iter__(self) -> Iterator[Record]:
        if self.path.suffix.lower() == ".parquet":
            yield from read_parquet(self.path, str(self.path))
            self._require(digest_file(self.path))
            return
        hasher = hashlib.sha256()
        with self.path.open("rb") as file:
            yield from read_lines(_hashing(file, hasher), str(self.path))
        self._require("sha256:" + hasher.hexdigest())

    def _require(self, digest: str) -> None:
        if digest != self.digest:
            raise InvalidInput(
                f"`{self.path}` changed while it was read", hint="read it when nobody writes to it"
            )


def streamed(path: Path) -> Streamed | None:
    """The records of a file that is large and can be read so; None of any other."""
    if path.suffix.lower() not in (".jsonl", ".parquet") or path.stat().st_size < LARGE:
        return None
    return Streamed(path, digest_file(path))


def _hashing(file: BinaryIO, hasher: hashlib._Hash) -> Iterator[bytes]:
    for line in file:
        hasher.update(line)
        yield line
