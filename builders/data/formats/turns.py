"""Turns of a conversation as the field writes them → messages.

Invariant: a key of a turn is read, or says nothing (null, empty), or is among those known to carry
no meaning for a training, or is a fault; none that could change what is learnt is dropped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapterworks.builders.data.formats.columns import FormatFault
from adapterworks.builders.data.rows import ROLES, Message, Role

# How much a turn counts: OpenAI's field; what Axolotl and ms-swift call theirs.
_WEIGHTS = ("weight", "train", "loss")
# What a part of text is called in OpenAI's two APIs.
_TEXTS = ("text", "input_text", "output_text")
# Beyond these a weight is nothing, or drowns all others, in the float32 that losses are summed in.
_LEAST, _MOST = 1e-6, 1e6
# What exports of chats carry along: who, when, which; never what is said.
_WITHOUT_MEANING = {
    *("id", "message_id", "turn_id", "turn", "turn_identifier", "user_id", "author", "hashed_ip"),
    *("timestamp", "time", "date", "created", "created_at", "create_time", "update_time"),
    *("language", "lang", "country", "state", "header", "model", "source", "markdown"),
    *("toxic", "redacted", "openai_moderation", "detoxify_moderation", "tokens", "token_count"),
    *("is_edited", "edited", "deleted", "is_deleted", "synthetic", "is_bot", "finish_reason"),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a format calls a turn's role and content, and the roles it knows.

    Attributes:
        calls: the role whose content is the JSON of a tool call, if the format has such a role.
    """

    role: str
    content: str
    roles: Mapping[str, Role]
    calls: str | None = None


OPENAI = Dialect("role", "content", {role: role for role in ROLES})


def read_turns(turns: Sequence[Any], dialect: Dialect = OPENAI) -> tuple[Message, ...]:
    """All turns, in order.

    Raises:
        FormatFault: a turn is none, or has a key that would be ignored.
    """
    return tuple(_turn(number, turn, dialect) for number, turn in enumerate(turns, 1))


def until_answered(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """A conversation without what follows its last answer: exports end with the user's last turn.

    Not for a prompt, which ends with the question that is to be answered.
    """
    last = len(turns)
    while last > 1 and turns[last - 1]["role"] != "assistant":
        last -= 1
    return turns[:last]


def _turn(number: int, turn: Any, dialect: Dialect) -> Message:
    if not isinstance(turn, Mapping):
        raise FormatFault(f"turn {number} is a {type(turn).__name__}, not an object")
    name = turn.get(dialect.role)
    if not isinstance(name, str) or name not in dialect.roles:
        known = ", ".join(dialect.roles)
        raise FormatFault(f"turn {number} has {dialect.role} `{name}`; known: {known}")
    role = dialect.roles[name]
    calls = _tool_calls(number, turn.get("tool_calls"))
    content = _content(number, turn.get(dialect.content), dialect.content, bool(calls))
    if name == dialect.calls:
        calls, content = _tool_calls(number, _json(number, content)), ""
        if not calls:
            raise FormatFault(f"turn {number} is a `{name}` without a call")
    message: Message = {"role": role, "content": content}
    weight = _weight(number, turn, role)
    if weight != 1.0:
        message["weight"] = weight
    if calls:
        if role != "assistant":
            raise FormatFault(f"turn {number} has `tool_calls`, but its role is `{name}`")
        message["tool_calls"] = calls
    for key in ("tool_call_id", "name"):
        value = turn.get(key)
        if value:
            if not isinstance(value, str):
                raise FormatFault(f"turn {number}'s `{key}` is not text")
            message[key] = value
    _refuse_unread(number, turn, dialect)
    return message


def _refuse_unread(number: int, turn: Mapping[str, Any], dialect: Dialect) -> None:
    read = {dialect.role, dialect.content, *_WEIGHTS, "tool_calls", "tool_call_id", "name"}
    unread = [
        key for key, value in turn.items() if key not in read | _WITHOUT_MEANING and _says(value)
    ]
    if unread:
        keys = ", ".join(f"`{key}`" for key in unread)
        raise FormatFault(
            f"turn {number} has {keys}, which would be ignored: remove it from the turn, write "
            "it into the text if it is to be learnt, or name it in `data.ignore`"
        )


def _says(value: Any) -> bool:
    """Whether a value says anything: data sets fill keys that a turn has not with null.

    False and 0 do: `"trainable": false` is the whole of what somebody meant.
    """
    return value is not None and value not in ("", [], {}, ())


def _content(number: int, value: Any, key: str, may_be_none: bool) -> str:
    if value is None and may_be_none:
        return ""
    if isinstance(value, list | tuple):  # OpenAI's content parts
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in value]
        kinds = [part.get("type", "text") if isinstance(part, Mapping) else "?" for part in value]
        other = [kind for kind in kinds if kind not in _TEXTS]
        if other:
            raise FormatFault(f"turn {number} has a part of type `{other[0]}`; only text is learnt")
        if all(isinstance(text, str) for text in parts):
            return "".join(str(text) for text in parts)
    if not isinstance(value, str):
        raise FormatFault(f"turn {number}'s `{key}` is not text")
    return value


def _weight(number: int, turn: Mapping[str, Any], role: Role) -> float:
    given = {key: turn[key] for key in _WEIGHTS if turn.get(key) is not None}
    for key, value in given.items():
        if not isinstance(value, bool | int | float) or not 0 <= value < math.inf:
            raise FormatFault(f"turn {number}'s `{key}` is not a number from 0, true or false")
        if value and not _LEAST <= value <= _MOST:
            raise FormatFault(
                f"turn {number}'s `{key}` is neither 0 nor between {_LEAST:g} and {_MOST:g}"
            )
    weights = {float(value) for value in given.values()}
    if len(weights) > 1:
        keys = " and ".join(f"`{key}`" for key in given)
        raise FormatFault(f"turn {number}'s {keys} contradict each other")
    if role != "assistant":
        if any(weights):
            key = next(iter(given))
            raise FormatFault(
                f"turn {number} has `{key}`, but only assistant turns are learnt one by one "
                '(`train.loss_on = "all"` learns everything)'
            )
        return 1.0
    return next(iter(weights), 1.0)


def _tool_calls(number: int, value: Any) -> list[dict[str, Any]]:
    """OpenAI's calls, or bare `{"name", "arguments"}`; arguments as JSON text become an object.

    Templates write arguments as JSON themselves, and the engine hands them objects too.
    """
    if not value:
        return []
    calls = [value] if isinstance(value, Mapping) else value
    if not isinstance(calls, list | tuple):
        raise FormatFault(f"turn {number}'s `tool_calls` is not a list")
    read = []
    for call in calls:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise FormatFault(f"turn {number} has a tool call without a function's name")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            arguments = _json(number, arguments) if arguments.strip() else None
        if arguments is not None and not isinstance(arguments, Mapping):
            raise FormatFault(
                f"turn {number} has a tool call whose arguments are a "
                f"{type(arguments).__name__}, not an object"
            )
        entry: dict[str, Any] = {
            "type": "function",
            "function": {"name": function["name"], "arguments": arguments or {}},
        }
        if call.get("id"):
            entry["id"] = call["id"]
        read.append(entry)
    return read


def _json(number: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatFault(f"turn {number}'s tool call is not JSON: {error}") from None
