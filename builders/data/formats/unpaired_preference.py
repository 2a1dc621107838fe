"""`unpaired-preference`: one answer to a prompt, and whether it is a good one (TRL)."""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.further import truth
from adapterworks.builders.data.formats.prompt_completion import answer_turns, prompt_turns
from adapterworks.builders.data.rows import Row

_NUMBERS = {0: False, 1: True, "0": False, "1": True}  # a table without types has them as text


def _read(columns: Columns) -> Row:
    prompt, answer = prompt_turns(columns, "prompt"), answer_turns(columns, "completion")
    given = columns.get("label")
    label = _NUMBERS.get(given) if isinstance(given, int | str) else None
    label = truth(given) if label is None else label
    if label is None:
        raise FormatFault(f"`{columns.column('label')}` must be true or false, it is {given!r}")
    return Row(
        (*columns.system(prompt), *prompt, *answer),
        tools=columns.tools(),
        answer_turns=len(answer),
        scores=(float(label),),
    )


FORMAT = RowFormat(
    name="unpaired-preference",
    description="a prompt, an answer (each text or a list of turns), and `label`: is it good?",
    columns=("prompt", "completion", "label", "tools", "system"),
    gives="judged",
    example={"prompt": "Fever", "completion": "R50.9", "label": True},
    read=_read,
    beside=("label",),
    instead='`data.format = "prompt-completion"` and `data.ignore = ["label"]`',
)
