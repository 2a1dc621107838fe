"""`messages`: OpenAI's chat rows, with their weights and tools."""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.turns import read_turns, until_answered
from adapterworks.builders.data.rows import Row


def _read(columns: Columns) -> Row:
    turns = until_answered(read_turns(columns.turns("messages")))
    return Row((*columns.system(turns), *turns), tools=columns.tools())


FORMAT = RowFormat(
    name="messages",
    description="conversations as OpenAI's chat API has them, with weights and tools",
    columns=("messages", "tools", "system"),
    gives="conversation",
    example={
        "messages": [
            {"role": "system", "content": "Answer with a code."},
            {"role": "user", "content": "Fever"},
            {"role": "assistant", "content": "R50.9", "weight": 1},
        ]
    },
    read=_read,
)
