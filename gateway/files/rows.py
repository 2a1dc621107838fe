"""The rows that a file of a purpose may have, looked at one by one while the file arrives.

    fine-tune   messages (supervised; without any answer: reinforcement) | preference |
                prompt and completion
    batch       one request a line
    evals       one JSON object a line
    others      any bytes

Invariant: a file that passes has one kind of row throughout, and no message quotes the file: what
is wrong is said by key and place, so that equal faults are one message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from adapterworks.gateway.files.faults import Faults
from adapterworks.gateway.files.lines import Lines, has_mark
from adapterworks.manifests.errors import InvalidInput

Problems = Iterator[str]
SUPERVISED, REINFORCEMENT = "supervised", "reinforcement"
PREFERENCE, COMPLETION, REQUESTS, OBJECTS = "paired", "completion", "requests", "objects"
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MOST_REQUESTS = 50_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found: how many rows, of which kind."""

    rows: int
    kind: str


class RowCheck:
    """Looks at a file of one purpose.

    Args:
        look: a parsed row → its kind and what is wrong with it.
        most: rows at most.
    """

    def __init__(self, look: Callable[[dict[str, Any]], tuple[str, Problems]], most: int | None):
        self._look = look
        self._most = most
        self._lines = Lines()
        self._faults = Faults()
        self._kind, self._first = "", 0
        self._ids: set[bytes] = set()  # digests: an id may be 512 characters long
        self.rows = 0

    def feed(self, data: bytes) -> None:
        """Look at what has arrived.

        Raises:
            InvalidLines: more lines cannot be used than are listed.
            InvalidInput: there are more rows than there may be.
        """
        for number, line in self._lines.feed(data):
            self._line(number, line)
            if self._faults.full:
                self._faults.raise_if_any(number)
            if self._most is not None and self.rows > self._most:
                raise InvalidInput(f"the file has more than the {self._most} rows it may have")

    def close(self) -> Facts:
        """Everything has arrived.

        Raises:
            InvalidLines: some lines cannot be used: all of them are named.
            InvalidInput: there is no row.
        """
        for number, line in self._lines.close():
            self._line(number, line)
        self._faults.raise_if_any(self._lines.number)
        if not self.rows:
            raise InvalidInput("the file has no rows", hint="write one JSON object a line")
        if self._most is not None and self.rows > self._most:
            raise InvalidInput(f"the file has more than the {self._most} rows it may have")
        return Facts(self.rows, self._kind)

    def _line(self, number: int, line: bytes | None) -> None:
        if line is None:
            self._faults.add(number, "is longer than a line may be (4 MiB)")
            return
        if number == 1 and has_mark(line):
            self._faults.add(number, "begins with a byte order mark: save as UTF-8 without one")
            return
        if not line.strip():
            return
        self.rows += 1
        row, problem = _parsed(line)
        if problem:
            self._faults.add(number, problem)
            return
        kind, problems = self._look(row)
        wrong = False
        for problem in problems:
            wrong = True
            self._faults.add(number, problem)
        if wrong or not kind:
            return
        if not self._kind:
            self._kind, self._first = kind, number
        elif kind != self._kind:
            self._faults.add(number, f"is a {kind} row, and line {self._first} a {self._kind} row")
        if kind == REQUESTS:
            before = len(self._ids)
            name = row["custom_id"].encode("utf-8", "surrogatepass")
            self._ids.add(hashlib.blake2b(name, digest_size=16).digest())
            if len(self._ids) == before:
                self._faults.add(number, "`custom_id` is that of an earlier line")


def check_of(purpose: str) -> RowCheck | None:
    """How a file of a purpose is looked at; None if its bytes are its own affair."""
    match purpose:
        case "fine-tune":
            return RowCheck(_training, None)
        case "batch":
            return RowCheck(_request, _MOST_REQUESTS)
        case "evals":
            return RowCheck(lambda row: (OBJECTS, iter(())), None)
    return None


class _Twice(Exception):
    """A key that comes twice."""


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise _Twice
    return found


def _parsed(line: bytes) -> tuple[dict[str, Any], str]:
    """The object in a line, or what is wrong."""
    try:
        row = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        reason = str(error)
        if "trailing comma" in reason:
            return {}, "is not JSON: it has a trailing comma"
        if "EOF" in reason:
            return {}, "is not JSON: it ends too early"
        if "invalid unicode" in reason or "UTF-8" in reason or "surrogate" in reason:
            return {}, "is not JSON: it has bytes that are no UTF-8 text"
        return {}, "is not JSON"
    if not isinstance(row, dict):
        return {}, "is not a JSON object"
    try:
        json.loads(line, object_pairs_hook=_pairs)
    except _Twice:
        return {}, "names a key twice"
    except (ValueError, RecursionError):
        return {}, "is not JSON"
    return row, ""


def _training(row: dict[str, Any]) -> tuple[str, Problems]:
    if row.get("messages") is not None:
        messages = row["messages"]
        answered = isinstance(messages, list) and any(
            isinstance(turn, dict) and turn.get("role") == "assistant" for turn in messages
        )
        return (SUPERVISED, _messages(messages, "messages")) if answered else _asked(messages)
    if row.get("input") is not None:
        return PREFERENCE, _preference(row)
    if row.get("prompt") is not None:
        return COMPLETION, _completion(row)
    return "", iter(
        ("has none of `messages`, `input` with two outputs, or `prompt` and `completion`",)
    )


def _asked(messages: Any) -> tuple[str, Problems]:
    def problems() -> Problems:
        wrong = False
        for problem in _messages(messages, "messages"):
            wrong = True
            yield problem
        if not wrong and messages[-1]["role"] != "user":
            yield "`messages` ends with no question: its last turn is not the user's"

    return REINFORCEMENT, problems()


def _messages(turns: Any, where: str) -> Problems:
    if not isinstance(turns, list) or not turns:
        yield f"`{where}` is not a list of messages"
        return
    for number, turn in enumerate(turns):
        place = f"`{where}[{number}]`"
        if not isinstance(turn, dict):
            yield f"{place} is not an object"
            continue
        role = turn.get("role")
        if role not in _ROLES:
            yield f"{place} has a `role` that is none of {', '.join(_ROLES)}"
            continue
        calls = turn.get("tool_calls") or turn.get("function_call")
        content = turn.get("content")
        if not isinstance(content, str | list) and not (role == "assistant" and calls):
            yield f"{place} has no text in `content`"
        weight = turn.get("weight")
        if weight is not None and weight not in (0, 1):
            yield f"{place} has a `weight` that is neither 0 nor 1"


def _preference(row: dict[str, Any]) -> Problems:
    asked = row["input"]
    if not isinstance(asked, dict):
        yield "`input` is not an object"
        return
    yield from _messages(asked.get("messages"), "input.messages")
    for name in ("preferred_output", "non_preferred_output"):
        answer = row.get(name)
        if not isinstance(answer, list) or len(answer) != 1:
            yield f"`{name}` is not a list of one message"
            continue
        yield from _messages(answer, name)
        if isinstance(answer[0], dict) and answer[0].get("role") != "assistant":
            yield f"`{name}[0]` is not the assistant's"


def _completion(row: dict[str, Any]) -> Problems:
    for name in ("prompt", "completion"):
        if not isinstance(row.get(name), str):
            yield f"`{name}` is not text"


def _request(row: dict[str, Any]) -> tuple[str, Problems]:
    return REQUESTS, _request_faults(row)


def _request_faults(row: dict[str, Any]) -> Problems:
    custom = row.get("custom_id")
    if not isinstance(custom, str) or not 0 < len(custom) <= 512:
        yield "`custom_id` is not a text of 1 to 512 characters"
    if row.get("method") != "POST":
        yield "`method` is not POST"
    if not isinstance(row.get("url"), str):
        yield "`url` is not text"
    if not isinstance(row.get("body"), dict):
        yield "`body` is not an object"
    if row.keys() - {"custom_id", "method", "url", "body"}:
        yield "has a key besides `custom_id`, `method`, `url` and `body`"
