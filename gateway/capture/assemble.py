"""A stream's events, put together: the `chat.completion` that a request without `stream` gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_JOINED = ("content", "refusal", "reasoning", "reasoning_content")


def assemble(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The whole answer; `usage` is not in it, since a client need not have asked for it.

    Raises:
        ValueError: there are no events, or they are none of a chat completion.
    """
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    try:
        for event in events:
            if not whole:
                whole = {k: event[k] for k in ("id", "created", "model")}
                whole["object"] = "chat.completion"
            for part in event["choices"]:
                choice = choices.setdefault(
                    part["index"], {"index": part["index"], "message": {"role": "assistant"}}
                )
                _extend(choice["message"], part.get("delta") or {})
                if part.get("finish_reason") is not None:
                    choice["finish_reason"] = part["finish_reason"]
    except (LookupError, TypeError) as error:
        raise ValueError("an event is none of a chat completion") from error
    if not choices:
        raise ValueError("the stream has no answer")
    for choice in choices.values():
        choice["message"].setdefault("content", None)
        choice.setdefault("finish_reason", None)
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}


def _extend(message: dict[str, Any], delta: dict[str, Any]) -> None:
    if delta.get("role"):
        message["role"] = delta["role"]
    for name in _JOINED:
        if isinstance(delta.get(name), str):
            message[name] = (message.get(name) or "") + delta[name]
    for part in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        while len(calls) <= part["index"]:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = calls[part["index"]], part.get("function") or {}
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
