"""What parts the cells of a text table, told by its first lines."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from itertools import islice

# RFC 4180's comma; what spreadsheets write where the comma is the decimal mark; what databases do.
_OF_CSV = (",", ";", "\t", "|")
_SAID = re.compile(r'"?sep=([^"\r\n])"?\r?\n', re.IGNORECASE)
_LOOKED_AT = 100  # lines of a table whose header holds several marks


@dataclass(frozen=True, slots=True)
class Parted:
    """How a table's lines are parted.

    Attributes:
        marks: what parts the cells; several where the lines can be read by any of them.
        begins: the place of the header's first character.
    """

    marks: tuple[str, ...]
    begins: int = 0


def parted(suffix: str, text: str) -> Parted:
    """What parts the cells: what a first line `sep=;` says, as Excel reads it; a tab in `.tsv`; in
    `.csv` the first of `,` `;` a tab and `|` that stands in the header outside of quotes, else a
    comma. Where several stand there, the one that parts most lines as it parts the header.

    Args:
        suffix: of the file's name, in lower case.
        text: of the file, or its beginning.
    """
    if said := _SAID.match(text):
        return Parted((said[1],), said.end())
    if suffix == ".tsv":
        return Parted(("\t",))
    found = _in_header(text.lstrip("\r\n"))
    if len(found) < 2:
        return Parted(found or (",",))
    fitting = {mark: _fitting(text, mark) for mark in found}
    most = max(fitting.values())
    return Parted(tuple(m for m in found if fitting[m] == most) if most else found[:1])


def _in_header(text: str) -> tuple[str, ...]:
    inside, outside = False, set()
    for character in text:
        if character == '"':
            inside = not inside
        elif not inside and character in "\r\n":
            break
        elif not inside:
            outside.add(character)
    return tuple(mark for mark in _OF_CSV if mark in outside)


def _fitting(text: str, mark: str) -> int:
    """How many of the first lines a mark parts into as many cells as the header."""
    lines = (line for line in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if line)
    fits = 0
    try:
        header = next(lines)
        for line in islice(lines, _LOOKED_AT):
            fits += len(line) == len(header)
    except (csv.Error, StopIteration):  # whoever reads the table says what is wrong with it
        pass
    return fits
