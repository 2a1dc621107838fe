"""`prompt-completion`: what is asked and what is to be answered, each text or turns (TRL)."""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.turns import read_turns
from adapterworks.builders.data.rows import Answer, Message, Row


def _read(columns: Columns) -> Row:
    prompt = tuple(_given(turn) for turn in prompt_turns(columns, "prompt"))
    completion = answer_turns(columns, "completion")
    return Row((*columns.system(prompt), *prompt, *completion), tools=columns.tools())


def prompt_turns(columns: Columns, name: str) -> tuple[Message, ...]:
    """A prompt as turns, its last one being what is to be answered."""
    if columns.has_turns(name):
        return read_turns(columns.turns(name))
    return ({"role": "user", "content": columns.text(name)},)


def answer_turns(columns: Columns, name: str) -> Answer:
    """An answer as turns."""
    if columns.has_turns(name):
        return read_turns(columns.turns(name))
    return ({"role": "assistant", "content": columns.text(name)},)


def _given(turn: Message) -> Message:
    """A prompt is given, not learnt: its assistant turns are without weight."""
    if turn["role"] != "assistant":
        return turn
    copy = turn.copy()
    copy["weight"] = 0.0
    return copy


FORMAT = RowFormat(
    name="prompt-completion",
    description="a prompt and its completion, each text or a list of turns; completions are learnt",
    columns=("prompt", "completion", "tools", "system"),
    gives="conversation",
    example={"prompt": "Fever", "completion": "R50.9"},
    read=_read,
)
