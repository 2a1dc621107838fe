"""Text files as their standards say: JSON Lines, JSON (RFC 8259) and CSV (RFC 4180), in UTF-8.

Invariant: a line ends where the standard ends it and nowhere else (U+2028, U+0085 and form feeds
are characters); a key or column that is there twice is a fault, since one of both would be lost.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from adapterworks.builders.data.sources.record import Record
from adapterworks.manifests.cells import parted
from adapterworks.manifests.errors import InvalidInput

_LONGEST_CELL = 2**31 - 1  # characters; csv's own bound of 131,072 is shorter than a chapter
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "`|`"}
_ONE_A_LINE = "write one JSON object a line"
_WIDE = ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))
_WIDER = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"))


def decode(data: bytes, name: str) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        InvalidInput: it is not UTF-8; the message names the line and the way out.
    """
    for mark, encoding in (*_WIDER, *_WIDE):  # UTF-32's mark begins with UTF-16's
        if data.startswith(mark):
            raise _other_encoding(name, encoding)
    if b"\0" in data[:1024]:
        raise _other_encoding(name, "UTF-16LE" if data[1:2] == b"\0" else "UTF-16BE")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _not_utf8(name, line, error.start) from error


def _not_utf8(name: str, line: int, byte: int) -> InvalidInput:
    return InvalidInput(
        f"`{name}` line {line}: not UTF-8 (byte {byte})",
        hint=f"convert it, e.g. `iconv -f GB18030 -t UTF-8 {name.rpartition('/')[2]}`",
    )


def _other_encoding(name: str, encoding: str) -> InvalidInput:
    return InvalidInput(
        f"`{name}` line 1: {encoding}, not UTF-8",
        hint=f"convert it: `iconv -f {encoding} -t UTF-8 {name.rpartition('/')[2]}`",
    )


def read_jsonl(data: bytes, name: str) -> Iterator[Record]:
    """One JSON object a line; empty lines are passed over.

    Raises:
        InvalidInput: a line is none.
    """
    # Only \n ends a JSON line: str.splitlines would cut at U+2028 inside a string.
    for number, line in enumerate(decode(data, name).split("\n"), 1):
        if line.strip():
            yield _record(line, number, name)


def read_lines(lines: Iterable[bytes], name: str) -> Iterator[Record]:
    """As `read_jsonl`, of lines that are read one after the other.

    Raises:
        InvalidInput: a line is no JSON object, or not UTF-8.
    """
    begins = 0
    for number, data in enumerate(lines, 1):
        if number == 1:
            line = decode(data, name)
        else:
            try:
                line = data.decode()
            except UnicodeDecodeError as error:
                raise _not_utf8(name, number, begins + error.start) from error
        begins += len(data)
        if line.strip():
            yield _record(line, number, name)


def _record(line: str, number: int, name: str) -> Record:
    try:
        value = _loads(line)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"`{name}` line {number}, column {error.colno}: not JSON ({error.msg})",
            hint=_hint(line),
        ) from error
    except (ValueError, RecursionError) as error:  # a key twice, endless digits, endless depth
        raise InvalidInput(
            f"`{name}` line {number}: cannot be read ({error})", hint=_ONE_A_LINE
        ) from error
    if not isinstance(value, dict):
        raise InvalidInput(
            f"`{name}` line {number}: a JSON {type(value).__name__}, not an object",
            hint=_hint(line),
        )
    return Record(number, value)


def _hint(line: str) -> str:
    if line.lstrip().startswith("["):
        return f"{_ONE_A_LINE}, or name the file `.json` if it is one array of objects"
    return _ONE_A_LINE


def read_json(data: bytes, name: str) -> Iterator[Record]:
    """An array of objects, numbered from 1; or JSON Lines under the name `.json`.

    Raises:
        InvalidInput: it is neither.
    """
    text = decode(data, name)
    try:
        value = _loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            yield from read_jsonl(data, name)
            return
        raise InvalidInput(
            f"`{name}` line {error.lineno}, column {error.colno}: not JSON ({error.msg})",
            hint="write an array of objects",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"`{name}`: cannot be read ({error})", hint="write an array of objects"
        ) from error
    if isinstance(value, dict) and "\n" not in text.strip():
        value = [value]  # JSON Lines of one line
    if not isinstance(value, list):
        raise InvalidInput(
            f"`{name}`: a JSON {type(value).__name__}, not an array of objects",
            hint="write an array of objects, or one object a line in a file ending in .jsonl",
        )
    for number, columns in enumerate(value, 1):
        if not isinstance(columns, dict):
            raise InvalidInput(
                f"`{name}` element {number}: a JSON {type(columns).__name__}, not an object",
                hint="write an array of objects",
            )
        yield Record(number, columns)


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"`{text}` is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key `{twice}` more than once")
    return table


def read_csv(data: bytes, name: str) -> Iterator[Record]:
    """A header and rows, numbered by line; an empty line is none.

    Cells are parted by commas, or by what parts those of the header (`manifests/cells.py`).

    Raises:
        InvalidInput: a row has another number of cells, a column is named twice, several hold
            something and have no name, or the cells can be parted in more than one way.
    """
    return _read_cells(data, name, ".csv")


def read_tsv(data: bytes, name: str) -> Iterator[Record]:
    """The same with tabs between the cells."""
    return _read_cells(data, name, ".tsv")


def _read_cells(data: bytes, name: str, suffix: str) -> Iterator[Record]:
    text = decode(data, name)
    mark, begins = _mark(text, name, suffix)
    called = _MARKS.get(mark, f"`{mark}`")
    before = text.count("\n", 0, begins)
    lines = csv.reader(io.StringIO(text[begins:], newline=""), strict=True, delimiter=mark)
    header: list[str] | None = None
    start = before + 1
    usual = csv.field_size_limit(_LONGEST_CELL)
    try:
        for cells in lines:
            number, start = start, before + lines.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _header(cells, mark, name, number)
            elif len(cells) != len(header):
                raise InvalidInput(
                    f"`{name}` line {number}: {len(cells)} cells, the header has {len(header)}",
                    hint=f"quote cells that contain {called} or line breaks: {called} part them, "
                    "as in the header",
                )
            else:
                yield Record(number, _cells(header, cells, name, number))
    except csv.Error as error:
        raise InvalidInput(
            f"`{name}` line {start}: {error}",
            hint=f"quote cells that contain {called}, quotes or line breaks",
        ) from error
    finally:
        csv.field_size_limit(usual)


def _mark(text: str, name: str, suffix: str) -> tuple[str, int]:
    """What parts the cells, and where the header begins.

    Raises:
        InvalidInput: more than one mark can be meant.
    """
    how = parted(suffix, text)
    if len(how.marks) > 1:
        one, other = (_MARKS[mark] for mark in how.marks[:2])
        raise InvalidInput(
            f"`{name}` line 1: {one} and {other} both part every line into as many cells as this",
            hint="write `sep=;` (or what parts the cells) as a first line, or quote the header's "
            "names",
        )
    return how.marks[0], how.begins


def _header(cells: list[str], mark: str, name: str, number: int) -> list[str]:
    if mark == "|" and not cells[0].strip() and not cells[-1].strip():
        raise InvalidInput(
            f"`{name}` line {number}: a table of Markdown, whose lines begin and end with `|`",
            hint="save it as CSV: `question,answer` in the first line, a row in each further one",
        )
    named_once([cell for cell in cells if cell], name, number)
    return cells


def _cells(header: list[str], cells: list[str], name: str, number: int) -> dict[str, str]:
    """Column → cell. A column without a name is none where it is empty, as spreadsheets write those
    that were cleared; one may hold something, as the row numbers that pandas writes.

    Raises:
        InvalidInput: several do.
    """
    columns = dict(zip(header, cells, strict=True))
    if "" in columns:
        held = [cell for column, cell in zip(header, cells, strict=True) if cell and not column]
        if len(held) > 1:
            raise InvalidInput(
                f"`{name}` line {number}: {len(held)} cells in columns without a name",
                hint="the first line names the columns",
            )
        if held:
            columns[""] = held[0]
        else:
            del columns[""]
    return columns


def named_once(cells: list[str], name: str, number: int) -> list[str]:
    """The names of columns.

    Raises:
        InvalidInput: one is there twice.
    """
    twice = next((cell for cell in cells if cells.count(cell) > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"`{name}` line {number}: the header has `{twice}` more than once",
            hint="give each column a name of its own",
        )
    return cells
