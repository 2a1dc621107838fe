"""What is done to the engine's events on their way to the client: next to nothing.

The model's name is put back to what the client sent, and token counts that only we asked for are
taken out again. Invariants: events pass whole and in order, up to one in which the engine says that
it failed; and what is read from one is read from its parsed JSON, where an answer's text or a
client's tool cannot look like a count.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from adapterworks.gateway.engines.messages import message
from adapterworks.gateway.request.endpoints import Call, Dialect
from adapterworks.gateway.request.typed.asked import Asked, Keep
from adapterworks.gateway.request.usage import Counts, Unusable, Usage, read_counts

_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_DONE = b"[DONE]"
# The last event of each dialect, where it is one of JSON.
_LAST = frozenset({"message_stop", "response.completed", "response.incomplete", "response.failed"})
# Those that say that there is no answer, or no more of it.
_FAILURES = ("error", "response.failed")
_NONE = Counts(0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a stream of the engine's stands in the one that the client sees.

    Attributes:
        before: choices of the streams before it.
        counts: what those have cost.
        last: none comes after it.
        names: the first one's `id` and `created`, which are all streams'.
    """

    before: int = 0
    counts: Counts = _NONE
    last: bool = True
    names: dict[str, Any] = field(default_factory=dict)

    def next(self, counts: Counts, call: Call, *, last: bool) -> Piece:
        """The one after it, once `call` was answered for so many tokens."""
        before = self.before + call.asked.sequences
        return Piece(before, self.counts + counts, last, self.names)

    def place(self, value: dict[str, Any]) -> None:
        """Number an event's choices on, and give it the first stream's names."""
        if self.last and not self.before:  # there is no other
            return
        for name in ("id", "created"):
            if name in value:
                value[name] = self.names.setdefault(name, value[name])
        choices = value.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and isinstance(choice.get("index"), int):
                choice["index"] += self.before


class Rewriter:
    """One streamed answer.

    Args:
        asked: the request; `keep` says which counts the client asked for.
        dialect: whose events they are.
        model: the engine's name for what answered.
        ref: the name the client sent.
        usage: counts are kept here as they pass.
        seen: told every event of JSON, as the client gets it.
        piece: where it stands, if it answers a part of the request.

    Attributes:
        finished: the engine has said that this is all.
        failed: what it said of its failure, if it did; nothing of that, or after it, is passed on.
    """

    def __init__(
        self,
        asked: Asked,
        dialect: Dialect,
        model: str,
        ref: str,
        usage: Usage,
        seen: Callable[[dict[str, Any]], None] | None = None,
        piece: Piece | None = None,
    ) -> None:
        self._piece = piece or Piece()
        self._seen = seen
        self._model = model
        self._ref = ref
        self._dialect = dialect
        self._usage = usage
        self._keep: Keep = asked.keep
        self._choices = asked.choices
        self._of_prompts = asked.prompts
        self._rest = b""
        self._prompts: dict[int, int] = {}
        self._completions: dict[int, int] = {}
        self._told = False  # at least one event came with counts
        self.finished = False
        self.failed: str | None = None
        # Nothing is made before the first event. What no event shows is not known; where each event
        # has the count so far, it is what was made since the last one.
        usage.completion_known = dialect == "openai" or not asked.hidden
        self._hidden = asked.hidden

    def feed(self, chunk: bytes) -> bytes:
        """The events completed by this chunk, as the client gets them."""
        *events, self._rest = _BOUNDARY.split(self._rest + chunk if self._rest else chunk)
        return b"".join(self._event(event) for event in events)

    def tail(self) -> bytes:
        """What is left when the engine closed the stream without finishing an event."""
        rest, self._rest = self._rest, b""
        return rest

    def _event(self, event: bytes) -> bytes:
        if self.failed is not None:
            return b""
        head, data = _parts(event)
        if data == _DONE:
            self._end()
            if not self._piece.last:
                return b""
        value = _object(data)
        if value is None:
            return event + b"\n\n" if event else b""
        rename(value, self._model, self._ref)
        if self._dialect == "openai":
            if not self._of_openai(value):
                return b""
        else:
            self._of_others(value)
        if value.get("error") or value.get("type") in _FAILURES:
            self.finished, self.failed = False, failure(value)
            return b""
        if self._seen is not None:
            self._seen(value)
        return head + b"data: " + to_json(value) + b"\n\n"

    def _of_openai(self, value: dict[str, Any]) -> bool:
        """Counts of an event of chat or completions; returns whether the client is to see it."""
        choices = value.get("choices")
        alone = choices == []
        counts = _counts(value.get("usage"))
        if counts is None:
            if choices and not self._told:
                self._usage.completion_known = False
        elif alone:
            self._usage.take(counts)
        else:
            self._told = True
            self._count(counts, choices)
        self._piece.place(value)
        if alone and counts is not None:
            if not self._piece.last:
                return False
            if self._piece.before:
                value["usage"] = _dumped(self._piece.counts + counts)
        if "usage" in value and (self._keep == "none" or (self._keep == "last" and not alone)):
            del value["usage"]
            return not alone
        return True

    def _count(self, counts: Counts, choices: Any) -> None:
        """Each event counts its own choice and its prompt only, from the beginning on."""
        first = choices[0] if isinstance(choices, list) and choices else {}
        index = first.get("index") if isinstance(first, dict) else 0
        index = index if isinstance(index, int) else 0
        made, read = self._completions, self._prompts
        made[index] = max(made.get(index, 0), counts.completion)
        read[index // self._choices] = counts.prompt
        if self._hidden:
            self._usage.unseen[index] = time.monotonic()
            if isinstance(first, dict) and first.get("finish_reason") is not None:
                del self._usage.unseen[index]
        usage = self._usage
        usage.completion = max(usage.completion, sum(made.values()))
        usage.prompt = max(usage.prompt, sum(read.values()))
        usage.prompt_known = len(read) >= self._of_prompts

    def _of_others(self, value: dict[str, Any]) -> None:
        """Counts of an event of responses or messages."""
        kind = value.get("type")
        if not isinstance(kind, str):
            return
        usage = self._usage
        if kind.endswith((".delta", "_block_delta")):
            # Until the engine's own count comes at the end: how many tokens an event shows, no
            # event says.
            usage.completion += _bytes(value.get("delta"))
            usage.bounded = True
            return
        whole = value.get("response")
        counts = _counts(whole.get("usage") if isinstance(whole, dict) else value.get("usage"))
        if kind == "message_start":
            message = value.get("message")
            counts = _counts(message.get("usage") if isinstance(message, dict) else None)
            if counts is not None and counts.prompt:
                usage.prompt, usage.prompt_known = counts.prompt, True
        elif counts is not None and (kind in _LAST or kind == "message_delta"):
            # The bound that the deltas gave gives way.
            usage.completion, usage.bounded = counts.completion, False
            usage.take(counts)
        if kind in _LAST:
            self._end()

    def _end(self) -> None:
        self.finished = True
        if not self._usage.final and not self._told:
            self._usage.completion_known = False


def failure(answer: dict[str, Any]) -> str | None:
    """What the engine says of its own failure where an answer or an event should be; else None.

    Sources: vLLM 0.32's `create_streaming_error_response` and `AnthropicStreamEvent`; OpenAI's
    `response.failed`.
    """
    error = answer.get("error")
    if not error and answer.get("type") not in _FAILURES:
        return None
    whole = answer.get("response")
    if not error and isinstance(whole, dict):
        error = whole.get("error")
    return message(to_json({"error": error}).decode())


def rename(answer: dict[str, Any], model: str, ref: str) -> None:
    """Put the client's name for what answered where the engine's own stands."""
    for value in (answer, answer.get("response"), answer.get("message")):
        if isinstance(value, dict) and value.get("model") == model:
            value["model"] = ref


def _bytes(delta: Any) -> int:
    """The most tokens that are in a delta: each has a byte at least, and one is there."""
    if isinstance(delta, dict):  # Anthropic's, which names what it is of
        texts = [text for name, text in delta.items() if name != "type" and isinstance(text, str)]
        delta = "".join(texts)
    return max(1, len(delta.encode())) if isinstance(delta, str) else 1


def _dumped(counts: Counts) -> dict[str, int]:
    """Counts as OpenAI names them."""
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
    }


def _parts(event: bytes) -> tuple[bytes, bytes]:
    """The lines before an event's data, and the data."""
    if event.startswith(b"data:") and b"\n" not in event:
        return b"", event[5:].strip()
    lines = event.splitlines()
    data = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
    head = b"".join(line + b"\n" for line in lines if not line.startswith(b"data:"))
    return head, data


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = from_json(data) if data.startswith(b"{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _counts(usage: Any) -> Counts | None:
    """What an event counts; None if it does not, or not usably."""
    if usage is None:
        return None
    try:
        return read_counts(usage)
    except Unusable:
        return None
