"""`--column NAME=COLUMN`: which column of a file is what a format calls so."""

from __future__ import annotations

from collections.abc import Sequence

from adapterworks.manifests.errors import InvalidInput


def column_names(texts: Sequence[str]) -> dict[str, str]:
    """Name of the format → column of the file.

    Raises:
        InvalidInput: a text names none.
    """
    return dict(_pair(text) for text in texts)


def _pair(text: str) -> tuple[str, str]:
    name, separator, column = text.partition("=")
    if not (name and separator and column):
        raise InvalidInput(f"`--column {text}` names no column", hint="write NAME=COLUMN")
    return name, column
