"""Prompts that nobody has answered yet: the column `prompt`, or conversations up to an answer.

Invariant: every bad record is named, and none is passed over; equal prompts count once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapterworks.builders.data.formats.columns import Columns, FormatFault
from adapterworks.builders.data.formats.prompt_completion import prompt_turns
from adapterworks.builders.data.formats.turns import read_turns
from adapterworks.builders.data.rows import Message, unweighted
from adapterworks.builders.data.sources.files import read_file
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput

_SHOWN = 10
Prompt = tuple[Message, ...]


def read_prompts(places: Sequence[Path]) -> list[Prompt]:
    """The prompts of files, in their order.

    A record has `prompt` (text or turns), or `messages`, of which an answer at the end is left out.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a record has no prompt, or there is none at all.
    """
    found: dict[str, Prompt] = {}
    faults: list[str] = []
    for place in places:
        for record in read_file(place).records:
            try:
                prompt = _prompt(Columns(record.columns, {}))
            except FormatFault as fault:
                faults.append(f"`{record.file or place.name}` row {record.number}: {fault}")
                continue
            found.setdefault(digest_json(list(prompt)), prompt)
    if faults:
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InvalidInput(
            "these rows have no prompt:\n  " + "\n  ".join(faults[:_SHOWN]) + more,
            hint="a row has `prompt` (text, or a list of turns) or `messages`",
        )
    if not found:
        raise InvalidInput("there is no prompt in these files")
    return [*found.values()]


def _prompt(columns: Columns) -> Prompt:
    if columns.get("prompt") is None and columns.has_turns("messages"):
        turns = read_turns(columns.turns("messages"))
        while turns and turns[-1]["role"] == "assistant":
            turns = turns[:-1]
    else:
        turns = prompt_turns(columns, "prompt")
    if not turns or turns[-1]["role"] != "user" or not turns[-1]["content"].strip():
        raise FormatFault("it does not end with a question of the user's")
    if any(turn["role"] == "tool" or "tool_calls" in turn for turn in turns):
        raise FormatFault("it calls tools, which are not asked here")
    return tuple(unweighted(turn) for turn in turns)
