"""What parts the cells of a text table, told by its header."""

from __future__ import annotations

# RFC 4180's comma; then what spreadsheets write where the comma is the decimal mark.
_OF_CSV = (",", ";", "\t")


def delimiter(suffix: str, text: str) -> str:
    """What parts the cells: a tab in `.tsv`; in `.csv` the first of `,` `;` and a tab that stands
    in the header outside of quotes, in this order, else a comma.

    Args:
        suffix: of the file's name, in lower case.
        text: of the file, or its beginning.
    """
    if suffix == ".tsv":
        return "\t"
    inside, outside = False, set()
    for character in text:
        if character == '"':
            inside = not inside
        elif not inside and character in "\r\n":
            break
        elif not inside:
            outside.add(character)
    return next((mark for mark in _OF_CSV if mark in outside), ",")
