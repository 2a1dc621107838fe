"""Formats: how a record's columns become a row.

    messages           messages: [{"role", "content"}, …]                      (OpenAI chat)
    instruction        instruction, input (optional), output                   (Alpaca)
    prompt-completion  prompt, completion
    preference         prompt, chosen, rejected: chosen is the answer, rejected goes to `meta`
    text               text                                      (continued pre-training)
    sharegpt           conversations: [{"from": human|gpt|system, "value"}, …]

`data.columns` renames: `{"prompt": "question"}` reads `prompt` from the column `question`.
Invariant: every bad record is reported, by its number, in one error; none is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapterworks.builders.data.rows import ROLES, Message, Role, Row
from adapterworks.builders.data.sources import Record
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Format

SHOWN_FAULTS = 20
_SHAREGPT_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "system": "system",
}


class _Fault(Exception):
    """Why one record is not a row of its format."""


class _Columns:
    """A record's columns under the format's own names."""

    def __init__(self, columns: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
        self._columns = columns
        self._renamed = renamed

    def get(self, name: str) -> Any:
        return self._columns.get(self._renamed.get(name, name))

    def text(self, name: str, *, required: bool = True) -> str:
        value = self.get(name)
        column = self._renamed.get(name, name)
        if value is None and not required:
            return ""
        if value is None:
            have = ", ".join(f"`{key}`" for key in self._columns) or "none"
            raise _Fault(f"no column `{column}` (it has {have})")
        if not isinstance(value, str):
            raise _Fault(f"column `{column}` is a {type(value).__name__}, not text")
        return value

    def turns(self, name: str) -> Sequence[Any]:
        value = self.get(name)
        column = self._renamed.get(name, name)
        if not isinstance(value, list | tuple) or not value:
            raise _Fault(f"column `{column}` is not a list of turns")
        return value


def _messages(columns: _Columns) -> Row:
    return Row(_turns(columns.turns("messages"), "role", "content", {r: r for r in ROLES}))


def _sharegpt(columns: _Columns) -> Row:
    return Row(_turns(columns.turns("conversations"), "from", "value", _SHAREGPT_ROLES))


def _instruction(columns: _Columns) -> Row:
    extra = columns.text("input", required=False)
    question = columns.text("instruction") + (f"\n\n{extra}" if extra.strip() else "")
    return Row(_pair(question, columns.text("output")))


def _prompt_completion(columns: _Columns) -> Row:
    return Row((*_prompt(columns), *_answer(columns, "completion")))


def _preference(columns: _Columns) -> Row:
    # `chosen`/`rejected` may be whole conversations (TRL's implicit prompt) or the answer alone.
    rejected = _answer(columns, "rejected")[-1]["content"]
    chosen = _answer(columns, "chosen")
    turns = chosen if columns.get("prompt") is None else (*_prompt(columns), *chosen[-1:])
    return Row(turns, {"rejected": rejected})


def _text(columns: _Columns) -> Row:
    return Row(text=columns.text("text"))


FORMATS: dict[Format, Callable[[_Columns], Row]] = {
    "messages": _messages,
    "instruction": _instruction,
    "prompt-completion": _prompt_completion,
    "preference": _preference,
    "text": _text,
    "sharegpt": _sharegpt,
}


def to_rows(
    records: Sequence[Record],
    format: Format,
    *,
    source: str,
    columns: Mapping[str, str] | None = None,
) -> tuple[Row, ...]:
    """All records as rows of one format; other columns of JSON types go to `meta`.

    Raises:
        InvalidInput: at least one record is not of the format; up to 20 are shown by number.
    """
    renamed = columns or {}
    rows: list[Row] = []
    faults: list[str] = []
    for record in records:
        try:
            row = FORMATS[format](_Columns(record.columns, renamed))
            _check(row)
        except _Fault as fault:
            faults.append(f"row {record.number}: {fault}")
        else:
            rows.append(row.with_meta(row=record.number))
    if faults:
        shown = "\n  ".join(faults[:SHOWN_FAULTS])
        more = f"\n  and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise InvalidInput(
            f"`{source}`: {len(faults)} of {len(records)} rows are not in format `{format}`:"
            f"\n  {shown}{more}",
            hint="set `data.format`, or map column names with `data.columns`",
        )
    return tuple(rows)


def _check(row: Row) -> None:
    if row.text is None and row.messages[-1]["role"] != "assistant":
        raise _Fault("the conversation does not end with an assistant turn")


def _pair(question: str, answer: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": question}, {"role": "assistant", "content": answer})


def _prompt(columns: _Columns) -> tuple[Message, ...]:
    if isinstance(columns.get("prompt"), list | tuple):
        return _turns(columns.turns("prompt"), "role", "content", {r: r for r in ROLES})
    return ({"role": "user", "content": columns.text("prompt")},)


def _answer(columns: _Columns, name: str) -> tuple[Message, ...]:
    if isinstance(columns.get(name), list | tuple):
        return _turns(columns.turns(name), "role", "content", {r: r for r in ROLES})
    return ({"role": "assistant", "content": columns.text(name)},)


def _turns(
    turns: Sequence[Any], role_key: str, content_key: str, roles: Mapping[str, Role]
) -> tuple[Message, ...]:
    messages: list[Message] = []
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, Mapping):
            raise _Fault(f"turn {number} is a {type(turn).__name__}, not an object")
        role, content = turn.get(role_key), turn.get(content_key)
        if not isinstance(role, str) or role not in roles:
            raise _Fault(f"turn {number} has {role_key} `{role}`; known: {', '.join(roles)}")
        if not isinstance(content, str):
            raise _Fault(f"turn {number}'s `{content_key}` is not text")
        messages.append({"role": roles[role], "content": content})
    while len(messages) > 1 and messages[-1]["role"] != "assistant":
        messages.pop()  # ShareGPT exports end with the user's last, unanswered turn
    return tuple(messages)
