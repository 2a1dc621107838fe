"""What a format reads: which of its columns hold the question and the answer; pure."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import FORMATS, RowFormat

_ASKED, _ANSWERED = "what is asked", "what is answered"
_SAMPLE = 50  # records that a format must be able to read


def reads(known: RowFormat, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a format reads the records as they are."""
    try:
        for record in records[:_SAMPLE]:
            known.read(Columns(record, {}))
    except FormatFault:
        return False
    return True


def readable(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """The format that reads the records as they are, and of several the one that reads most."""
    found: list[tuple[int, str]] = []
    for name in FORMATS:
        known = FORMATS[name]
        read = sum(column in names for column in known.columns)
        if read and not known.learnt_whole and reads(known, records):
            found.append((read, name))
    return max(found, key=lambda one: one[0])[1] if found else None


def pair_of(known: RowFormat) -> tuple[str, str] | None:
    """A format's columns of the question and of the answer, as text; None if it has none."""
    for beside in ({}, known.example):
        for asked, answered in permutations(known.columns, 2):
            record = {**beside, asked: _ASKED, answered: _ANSWERED}
            # What fails says that these two are not enough, or not text: a stranger's code too.
            with contextlib.suppress(Exception):
                row = known.read(Columns(record, {}))
                if row.text is None and (row.question, row.answer) == (_ASKED, _ANSWERED):
                    return asked, answered
    return None


def whole() -> tuple[str, str]:
    """The format whose rows are learnt whole, and its column."""
    name = next(name for name in FORMATS if FORMATS[name].learnt_whole)
    (column,) = FORMATS[name].columns
    return name, column


def of_pairs(*columns: str) -> str:
    """The first format of a prompt and a completion that reads these columns too."""
    wanted = {"prompt", "completion", *columns}
    return next(name for name in FORMATS if wanted <= {*FORMATS[name].columns})
