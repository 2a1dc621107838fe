"""`openai-reinforcement`: OpenAI's format for reinforcement fine-tuning.

`messages` end with what is asked. Every other column stays in the row's `meta`, where graders read
it as `item.COLUMN`; one of them is the row's own answer, which evaluation compares with and no
training learns.
"""

from __future__ import annotations

import json

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.turns import read_turns
from adapterworks.builders.data.rows import Row

_ANSWER = "reference_answer"


def _read(columns: Columns) -> Row:
    asked = read_turns(columns.turns("messages"))
    if asked[-1]["role"] == "assistant":
        raise FormatFault("`messages` end with an answer, not with what is asked")
    value, column = columns.get(_ANSWER), columns.column(_ANSWER)
    if value is None:
        raise FormatFault(f"no column `{column}`, which is the row's own answer")
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise FormatFault(f"column `{column}` is a value that JSON does not hold") from None
    return Row(
        (*columns.system(asked), *asked, {"role": "assistant", "content": text}),
        # Graders read it by its own name too.
        {column: value},
        tools=columns.tools(),
    )


FORMAT = RowFormat(
    name="openai-reinforcement",
    description="OpenAI's reinforcement fine-tuning: messages, and columns that graders read",
    columns=("messages", _ANSWER, "tools", "system"),
    gives="conversation",
    example={"messages": [{"role": "user", "content": "Fever"}], _ANSWER: "R50.9"},
    read=_read,
)
