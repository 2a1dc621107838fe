"""`ranking`: LLaMA-Factory's preference rows, in both of its spellings.

Alpaca: `instruction`, `input`, `history`, `chosen`, `rejected`, or `output` as a list of the better
and the worse answer. ShareGPT: `conversations` with `chosen` and `rejected` as one turn each.
"""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.instruction import FORMAT as INSTRUCTION
from adapterworks.builders.data.formats.sharegpt import FORMAT as SHAREGPT
from adapterworks.builders.data.rows import Row

_ANSWERS = ("chosen", "rejected")
_QUESTION = INSTRUCTION.columns[0]


def _read(columns: Columns) -> Row:
    conversations = columns.get("conversations")
    rows = [_with_answer(columns, conversations, answer) for answer in _answers(columns)]
    better, worse = rows
    return Row(better.messages, tools=columns.tools(), others=(worse.messages[-1:],))


def _answers(columns: Columns) -> list[object]:
    """The better and the worse answer as they stand."""
    listed = columns.get("output")
    if listed is not None:
        if any(columns.get(name) is not None for name in _ANSWERS):
            raise FormatFault("`output` and `chosen` or `rejected`: one of them says the answers")
        if not isinstance(listed, list) or len(listed) != 2:
            raise FormatFault("`output` must be a list of the better and the worse answer")
        return listed
    answers = [columns.get(name) for name in _ANSWERS]
    if None in answers:
        raise FormatFault(f"`{_ANSWERS[answers.index(None)]}` is missing")
    return answers


def _with_answer(columns: Columns, conversations: object, answer: object) -> Row:
    """The row as if this were its only answer."""
    own = {name: columns.get(name) for name in ("system", "input", "history")}
    given = {name: value for name, value in own.items() if value is not None}
    if conversations is None:
        values = {**given, _QUESTION: columns.get(_QUESTION), "output": answer}
        return INSTRUCTION.read(columns.within(values))
    if not isinstance(conversations, list):
        raise FormatFault("`conversations` must be a list of turns")
    return SHAREGPT.read(columns.within({**given, "conversations": [*conversations, answer]}))


FORMAT = RowFormat(
    name="ranking",
    description="LLaMA-Factory's pairs: instruction or conversations, chosen and rejected",
    columns=(
        *(_QUESTION, "input", "history", "output", "conversations"),
        *("chosen", "rejected", "system", "tools"),
    ),
    gives="comparison",
    example={_QUESTION: "Fever", "chosen": "R50.9", "rejected": "It may be R50.9."},
    read=_read,
    beside=("rejected",),
)
