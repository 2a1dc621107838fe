"""`preference`: two answers to one prompt, of which one is better (TRL).

`chosen` and `rejected` are the answers alone, or whole conversations; without a column `prompt`,
the prompt is what both begin with.
"""

from __future__ import annotations

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.formats.prompt_completion import answer_turns, prompt_turns
from adapterworks.builders.data.rows import Answer, Message, Row, unweighted


def _read(columns: Columns) -> Row:
    answers = [answer_turns(columns, name) for name in ("chosen", "rejected")]
    if columns.get("prompt") is None and columns.has_turns("chosen"):
        prompt = _common(answers)
        if not prompt:
            raise FormatFault("`chosen` and `rejected` begin with no common turn, and no `prompt`")
        answers = [answer[len(prompt) :] for answer in answers]
    else:
        prompt = prompt_turns(columns, "prompt")
        answers = [_after(prompt, answer) for answer in answers]
    chosen, rejected = answers
    return Row(
        (*columns.system(prompt), *prompt, *chosen),
        tools=columns.tools(),
        others=(rejected,),
        answer_turns=len(chosen),
    )


def _common(answers: list[Answer]) -> tuple[Message, ...]:
    """The turns both begin with, up to where an assistant turn follows in each."""
    one, other = ([unweighted(turn) for turn in answer] for answer in answers)
    shared = 0
    while shared < min(len(one), len(other)) - 1 and one[shared] == other[shared]:
        shared += 1
    while shared and any(a[shared]["role"] != "assistant" for a in (one, other)):
        shared -= 1
    return answers[0][:shared]


def _after(prompt: tuple[Message, ...], answer: Answer) -> Answer:
    """An answer without the prompt that a whole conversation repeats."""
    if answer[0]["role"] == "assistant":
        return answer
    bare = prompt[1:] if prompt[0]["role"] == "system" else prompt
    for begin in (prompt, bare):
        if answer[: len(begin)] == begin:
            return answer[len(begin) :]
    raise FormatFault("an answer is a conversation that does not begin with `prompt`")


FORMAT = RowFormat(
    name="preference",
    description="a prompt, the chosen and the rejected answer, each text or a list of turns",
    columns=("prompt", "chosen", "rejected", "tools", "system"),
    gives="comparison",
    example={"prompt": "Fever", "chosen": "R50.9", "rejected": "It may be R50.9."},
    read=_read,
    beside=("rejected",),
    instead='`data.format = "prompt-completion"` with `data.columns = { completion = "chosen" }`',
)
