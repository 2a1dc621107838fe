"""`sharegpt`: conversations as ShareGPT exported them and LLaMA-Factory extended them."""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.turns import Dialect, read_turns, until_answered
from adapterworks.builders.data.rows import Row

_DIALECT = Dialect(
    "from",
    "value",
    {
        "human": "user",
        "user": "user",
        "gpt": "assistant",
        "assistant": "assistant",
        "chatgpt": "assistant",
        "bard": "assistant",
        "system": "system",
        "function_call": "assistant",
        "observation": "tool",
        "tool": "tool",
    },
    calls="function_call",
)


def _read(columns: Columns) -> Row:
    turns = until_answered(read_turns(columns.turns("conversations"), _DIALECT))
    return Row((*columns.system(turns), *turns), tools=columns.tools())


FORMAT = RowFormat(
    name="sharegpt",
    description="conversations of `from` and `value`, as ShareGPT and LLaMA-Factory have them",
    columns=("conversations", "tools", "system"),
    gives="conversation",
    example={
        "conversations": [{"from": "human", "value": "Fever"}, {"from": "gpt", "value": "R50.9"}]
    },
    read=_read,
)
