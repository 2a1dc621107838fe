"""Rows of an Excel workbook's first sheet: its first line has the columns' names.

Invariant: a cell is what a person sees as its value (a formula's last result, never the formula);
nothing is guessed: a date is ISO 8601 text, a whole number is written without `.0`, and a table
with merged cells, which hide values, is refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from adapterworks.builders.data.sources.record import Record
from adapterworks.builders.data.sources.text import named_once
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

# What the parts of a workbook may come to unpacked: a small file can hold endless zeros.
MOST_BYTES = 1 << 30


def read_xlsx(data: bytes, name: str) -> Iterator[Record]:
    """A header and rows of the first sheet, numbered as Excel numbers them; an empty line is none,
    and neither is a column that is empty from its header to its end.

    Raises:
        InvalidInput: it is no workbook, its first sheet is hidden or empty, cells are merged, or a
            cell is in no named column.
    """
    header: list[str | None] | None = None
    for number, cells in _lines(data, name):
        if header is None:
            named_once([cell for cell in cells if cell is not None], name, number)
            header = cells
            continue
        for place, cell in enumerate(cells, 1):
            if cell is not None and (place > len(header) or header[place - 1] is None):
                raise InvalidInput(
                    f"`{name}` line {number}: column {place} has a cell and no name",
                    hint="the first line names the columns: name it, or clear what stands beside "
                    "the table",
                )
        filled = [*cells, *[None] * (len(header) - len(cells))]
        named = zip(header, filled, strict=True)
        yield Record(number, {column: cell for column, cell in named if column is not None})


def _lines(data: bytes, name: str) -> Iterator[tuple[int, list[str | None]]]:
    """The lines of the first sheet that have a value, with their numbers."""
    workbook = _workbook(data, name)
    sheet = workbook.worksheets[0]
    _require_shown(workbook, name)
    merged = [str(cells) for cells in sheet.merged_cells.ranges]
    if merged:
        raise InvalidInput(
            f"`{name}`, sheet `{sheet.title}`: the cells {merged[0]} are merged",
            hint="unmerge them: each row needs a value of its own, and each column a name",
        )
    lines = 0
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        line = [_text(cell) for cell in cells]
        while line and line[-1] is None:
            line.pop()
        if line:
            lines += 1
            yield number, line
    others = [f"`{other.title}`" for other in workbook.worksheets[1:]]
    if lines < 2 and others:
        what = "has no row below its first line" if lines else "is empty"
        raise InvalidInput(
            f"`{name}`: its first sheet `{sheet.title}` {what}; no other is read "
            f"({', '.join(others)})",
            hint="move the sheet of the rows to the first place, or save it as a file of its own",
        )


def sheets(data: bytes, name: str) -> tuple[str, ...]:
    """The names of a workbook's sheets of cells that a person sees; the first is the one read.

    Raises:
        InvalidInput: it is no workbook, or a person does not see its first sheet.
    """
    workbook = _workbook(data, name)
    _require_shown(workbook, name)
    return tuple(s.title for s in workbook.worksheets if s.sheet_state == "visible")


def _require_shown(workbook: Workbook, name: str) -> None:
    first = workbook.worksheets[0]
    if first.sheet_state != "visible":
        raise InvalidInput(
            f"`{name}`: its first sheet `{first.title}` is hidden, and the first one is read",
            hint="move the sheet of the rows to the first place, or save it as a file of its own",
        )


def _workbook(data: bytes, name: str) -> Workbook:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > MOST_BYTES:
            raise InvalidInput(f"`{name}` is {unpacked} bytes unpacked, the most is {MOST_BYTES}")
        workbook = load_workbook(io.BytesIO(data), data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as error:
        raise InvalidInput(
            f"`{name}` is not an Excel workbook: {error}",
            hint="save it as `.xlsx` (not `.xls`), or as CSV in UTF-8",
        ) from error
    if not workbook.worksheets:
        raise InvalidInput(f"`{name}` has no sheet of cells", hint="save the table as CSV")
    return workbook


def _text(value: Any) -> str | None:
    """A cell as text; None where it is empty."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)
