"""What a format is to the rest of the build, and records → rows.

A format is one file with one `RowFormat`, named in `manifests/builtin.py` or by an entry point in
the group `adapterworks.formats`. `data.columns` renames: `{"prompt": "question"}` reads `prompt`
from the column `question`.

Invariant: every bad record is reported, by its number, in one error; none is skipped, and nothing
of a record is dropped: a column that the format does not read is in the row's `meta`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.further import further
from adapterworks.builders.data.many import gathered
from adapterworks.builders.data.rows import OWN, Row, RowKind
from adapterworks.builders.data.sources import Record
from adapterworks.builders.data.steps import SEPARATOR
from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import Table

SHOWN_FAULTS = 20
# Keys of `meta` that say what we know of a row. A record's columns of these names are in
# `meta["columns"]`, where graders and rewards find them under their own names (`Row.columns`).
RESERVED = ("row", "source", "mix", "augmented", "replay", SEPARATOR, OWN)


@dataclass(frozen=True)
class RowFormat:
    """One format.

    Attributes:
        name: what `data.format` says.
        description: one line for people.
        columns: the columns it reads, the optional ones included.
        gives: the kind of its rows, which an objective takes or not.
        example: a record of it.
        read: a record's columns → the row; raises `FormatFault`.
        beside: columns with further answers, which an objective of one answer would not see.
        instead: `data.format` → `data.columns` that read such records for one answer only.
    """

    name: str
    description: str
    columns: tuple[str, ...]
    gives: RowKind
    example: Mapping[str, Any]
    read: Callable[[Columns], Row]
    beside: tuple[str, ...] = ()
    instead: str = ""

    @property
    def learnt_whole(self) -> bool:
        """Whether its rows have no answer of their own: every token is learnt."""
        return self.gives == "document"


FORMATS = Table("formats", RowFormat)


def to_rows(
    records: Iterable[Record],
    format: str,
    *,
    source: str,
    columns: Mapping[str, str] | None = None,
    ignore: Collection[str] = (),
) -> Sequence[Row]:
    """All records as rows of one format; the other columns go to `meta`.

    Args:
        records: read once, one after the other.
        columns: the format's name → the source's.
        ignore: columns and keys of turns that are to be passed over.

    Raises:
        InvalidInput: at least one record is not of the format; up to 20 faults are shown, each with
            the numbers of its rows. Or the format's own code failed on one.
    """
    renamed, known = columns or {}, FORMATS.named(format)
    read = {renamed.get(name, name) for name in known.columns}
    faults: dict[str, list[str]] = {}  # what is wrong → where
    seen = 0

    def read_one(record: Record) -> Row | None:
        try:
            row = known.read(Columns(record.columns, renamed, ignore))
            _check(row)
            others = further(record.columns, {*read, *ignore}, replaced=renamed)
        except FormatFault as fault:
            faults.setdefault(str(fault), []).append(_place(record))
            return None
        except (Exception, SystemExit) as error:  # whatever a stranger's format raises
            raise InvalidInput(
                f"`{source}`: the format `{format}` failed on row {record.number}: "
                f"{type(error).__name__}: {error}",
                hint="a format says what is wrong with a record by `FormatFault`",
            ) from error
        meta = {name: value for name, value in others.items() if name not in RESERVED}
        if own := {name: value for name, value in others.items() if name in RESERVED}:
            meta[OWN] = own
        return row.with_meta(**meta | {"row": record.number})

    def read_all() -> Iterator[Row]:
        nonlocal seen
        for record in records:
            seen += 1
            row = read_one(record)
            if row is not None and not faults:
                yield row

    rows = gathered(read_all())
    if faults:
        shown = "\n  ".join(_line(*item) for item in [*faults.items()][:SHOWN_FAULTS])
        rest = sum(len(places) for places in [*faults.values()][SHOWN_FAULTS:])
        more = f"\n  and {rest} more" if rest else ""
        count = sum(len(places) for places in faults.values())
        raise InvalidInput(
            f"`{source}`: {count} of {seen} rows are not in format `{format}`:\n  {shown}{more}",
            hint="set `data.format`, map column names with `data.columns`, or name what may be "
            "passed over in `data.ignore`",
        )
    return rows


def _line(fault: str, places: Sequence[str]) -> str:
    """A fault with its first row; a wrong column name is wrong in all rows, and said once."""
    first, *others = places
    if not others:
        return f"row {first}: {fault}"
    rows = "row" if len(others) == 1 else "rows"
    named = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
    return f"row {first}: {fault}; the same in {len(others)} more {rows}: {named}"


def _place(record: Record) -> str:
    return f"{record.number} of {record.file}" if record.file else str(record.number)


def _check(row: Row) -> None:
    _check_texts(row)
    if row.text is not None:
        return
    for answer in row.answers:
        if not answer or answer[-1]["role"] != "assistant":
            raise FormatFault("the conversation does not end with an assistant turn")


def _check_texts(row: Row) -> None:
    """Refuse what no file can hold, and what JSON has no one spelling for: a row has a digest."""
    turns = [*row.messages, *(turn for answer in row.others for turn in answer)]
    for text in [row.text or "", *(turn["content"] for turn in turns)]:
        if not text.isascii() and not _is_utf8(text):
            raise FormatFault("a text has half a character (a lone surrogate such as `\\ud83d`)")
    for what, values in (
        ("`tools` have", [*row.tools]),
        ("a tool call has", [turn["tool_calls"] for turn in turns if "tool_calls" in turn]),
    ):
        try:
            canonical_json(values)
        except (ValueError, RecursionError) as error:
            raise FormatFault(
                f"{what} a value that JSON does not hold exactly ({error}): write it as text"
            ) from None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
