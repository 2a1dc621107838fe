"""What every source gives: records, and where they are from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """One record: its columns and its 1-based number (line, where the source is a text file).

    Attributes:
        file: which of several files it is in; empty where the source is one file.
    """

    number: int
    columns: dict[str, Any]
    file: str = ""


@dataclass(frozen=True)
class Records:
    """What a source held: records, origin, licence and file digests.

    Attributes:
        records: those of a large file are read as they are asked for (`streamed.py`).
    """

    records: Iterable[Record]
    origin: str
    license: str
    files: dict[str, str]
