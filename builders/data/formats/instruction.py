"""`instruction`: Alpaca's rows, with LLaMA-Factory's `system` and `history`."""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.rows import Message, Row


def _read(columns: Columns) -> Row:
    extra = columns.text("input", required=False)
    question = columns.text("instruction") + (f"\n\n{extra}" if extra.strip() else "")
    turns = (*_history(columns), *_pair(question, columns.text("output")))
    return Row((*columns.system(turns), *turns))


def _pair(question: str, answer: str) -> tuple[Message, Message]:
    return ({"role": "user", "content": question}, {"role": "assistant", "content": answer})


def _history(columns: Columns) -> tuple[Message, ...]:
    """Earlier questions and answers, as pairs of text."""
    earlier = columns.get("history") or ()
    listed = earlier if isinstance(earlier, list | tuple) else ()
    pairs = [pair for pair in listed if isinstance(pair, list | tuple) and len(pair) == 2]
    if (
        listed is not earlier
        or len(pairs) != len(earlier)
        or not all(isinstance(text, str) for pair in pairs for text in pair)
    ):
        raise FormatFault(
            f"column `{columns.column('history')}` is not a list of question and answer"
        )
    return tuple(turn for question, answer in pairs for turn in _pair(question, answer))


FORMAT = RowFormat(
    name="instruction",
    description="an instruction, an input if there is one, and the output (Alpaca)",
    columns=("instruction", "input", "output", "system", "history"),
    gives="conversation",
    example={"instruction": "Give the code.", "input": "Fever", "output": "R50.9"},
    read=_read,
)
