"""`text`: plain text for continued pre-training; every token is learnt."""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.rows import Row


def _read(columns: Columns) -> Row:
    return Row(text=columns.text("text"))


FORMAT = RowFormat(
    name="text",
    description="plain text, learnt from its first token to its last (continued pre-training)",
    columns=("text",),
    gives="document",
    example={"text": "R50.9 is the code of fever of unknown origin."},
    read=_read,
)
