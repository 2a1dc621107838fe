"""`openai-preference`: OpenAI's format for preference fine-tuning.

`input` has the turns and the tools, `preferred_output` and `non_preferred_output` the turns of the
better and of the worse answer.
"""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.prompt_completion import answer_turns, prompt_turns
from adapterworks.builders.data.rows import Row

_INPUT = ("messages", "tools", "parallel_tool_calls")


def _read(columns: Columns) -> Row:
    given = columns.get("input")
    if not isinstance(given, dict) or "messages" not in given:
        raise FormatFault("`input` must be a table with `messages`")
    if unknown := sorted(given.keys() - {*_INPUT}):
        raise FormatFault(f"`input` has `{unknown[0]}`, which is not read")
    within = columns.within(given)
    prompt = prompt_turns(within, "messages")
    better, worse = (
        answer_turns(columns, name) for name in ("preferred_output", "non_preferred_output")
    )
    return Row(
        (*columns.system(prompt), *prompt, *better),
        tools=within.tools(),
        others=(worse,),
        answer_turns=len(better),
    )


FORMAT = RowFormat(
    name="openai-preference",
    description="OpenAI's preference fine-tuning: input, preferred and non-preferred output",
    columns=("input", "preferred_output", "non_preferred_output", "system"),
    gives="comparison",
    example={
        "input": {"messages": [{"role": "user", "content": "Fever"}]},
        "preferred_output": [{"role": "assistant", "content": "R50.9"}],
        "non_preferred_output": [{"role": "assistant", "content": "It may be R50.9."}],
    },
    read=_read,
    beside=("non_preferred_output",),
)
