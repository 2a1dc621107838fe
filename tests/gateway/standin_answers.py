"""What the stand-in engine answers, in the words of each endpoint, as vLLM 0.32 puts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Event = tuple[str, dict[str, Any] | None, int]
"""An event's name and value (None: the end), and how many tokens it shows."""


@dataclass
class Answer:
    """One answer: every choice of every prompt is the same words.

    Attributes:
        prompts: tokens of each prompt.
        choices: answers to each.
        cached: prompt tokens said to come from the cache.
        countless: what it cost is left out.
        id: of the answer.
    """

    path: str
    model: str
    body: dict[str, Any]
    prompts: list[int]
    choices: int
    words: list[str]
    cached: int = 0
    countless: bool = False
    id: str = "cmpl-1"

    @property
    def sequences(self) -> int:
        return len(self.prompts) * self.choices

    @property
    def counts(self) -> tuple[int, int]:
        """Prompt and completion tokens of all of it."""
        return sum(self.prompts), self.sequences * len(self.words)

    def whole(self) -> bytes:
        """It in one piece."""
        value = self._whole()
        return _dump(_without_counts(value) if self.countless else value)

    def events(self) -> Iterator[tuple[bytes, int]]:
        """It as a stream: each event's bytes, and how many tokens it shows."""
        for name, value, tokens in self._events():
            if self.countless and value is not None:
                value = _without_counts(value)
                if value.get("choices") == []:
                    continue
            yield _event(value, name), tokens

    def failure(self, said: str) -> bytes:
        """What it ends a stream with where it fails, after a status of 200."""
        if self.path == "/v1/responses":
            name, error = "response.failed", {"code": "server_error", "message": said}
            response = {**self._response("failed"), "error": error}
            return _event({"type": name, "response": response}, name)
        error = {"type": "InternalServerError", "message": said}
        if self.path == "/v1/messages":
            return _event({"type": "error", "error": error}, "error")
        return _event({"error": {**error, "param": None, "code": 500}}, "") + _event(None, "")

    def _whole(self) -> dict[str, Any]:
        text = "".join(self.words)
        if self.path == "/v1/responses":
            return self._response("completed")
        if self.path == "/v1/messages":
            content = [{"type": "text", "text": text}]
            return {**self._message(), "content": content, "usage": self._anthropic()}
        said: dict[str, Any] = {"text": text}
        if self._chat:
            said = {"message": {"role": "assistant", "content": text}}
        choices = [
            {"index": index, "finish_reason": "length", **said} for index in range(self.sequences)
        ]
        return {**self._head(), "choices": choices, "usage": self._usage(*self.counts)}

    def _events(self) -> Iterator[Event]:
        if self.path == "/v1/responses":
            return self._responses_events()
        if self.path == "/v1/messages":
            return self._messages_events()
        return self._openai_events()

    @property
    def _chat(self) -> bool:
        return self.path.endswith("chat/completions")

    def _head(self, chunk: bool = False) -> dict[str, Any]:
        kind = "chat.completion" if self._chat else "text_completion"
        kind += ".chunk" if chunk and self._chat else ""
        return {"id": self.id, "object": kind, "created": 1, "model": self.model}

    def _openai_events(self) -> Iterator[Event]:
        options = self.body.get("stream_options") or {}
        for number, word in enumerate(self.words, 1):
            for index in range(self.sequences):
                choice: dict[str, Any] = {"index": index, "finish_reason": None}
                choice |= {"delta": {"content": word}} if self._chat else {"text": word}
                event = {**self._head(True), "choices": [choice]}
                if options.get("continuous_usage_stats"):
                    event["usage"] = self._usage(self.prompts[index // self.choices], number)
                yield "", event, 1
        if options.get("include_usage"):
            usage = self._usage(*self.counts)
            yield "", {**self._head(True), "choices": [], "usage": usage}, 0
        yield "", None, 0

    def _responses_events(self) -> Iterator[Event]:
        begun = {"type": "response.created", "response": self._response("in_progress")}
        yield "response.created", begun, 0
        name = "response.output_text.delta"
        for word in self.words:
            yield name, {"type": name, "output_index": 0, "delta": word}, 1
        name = "response.completed"
        yield name, {"type": name, "response": self._response("completed")}, 0

    def _messages_events(self) -> Iterator[Event]:
        counts = {"input_tokens": sum(self.prompts), "output_tokens": 0}
        start = {"type": "message_start", "message": {**self._message(), "usage": counts}}
        yield "message_start", start, 0
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
        yield "content_block_start", block, 0
        for word in self.words:
            delta = {"type": "text_delta", "text": word}
            event = {"type": "content_block_delta", "index": 0, "delta": delta}
            yield "content_block_delta", event, 1
        yield "content_block_stop", {"type": "content_block_stop", "index": 0}, 0
        usage = self._anthropic()
        yield "message_delta", {"type": "message_delta", "delta": {}, "usage": usage}, 0
        yield "message_stop", {"type": "message_stop"}, 0

    def _response(self, status: str) -> dict[str, Any]:
        """As vLLM orders it: what the client sent stands before the counts."""
        text = {"type": "output_text", "text": "".join(self.words)}
        output = [{"type": "message", "role": "assistant", "content": [text]}]
        prompt, completion = self.counts
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + completion,
        }
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "metadata": self.body.get("metadata"),
            "model": self.model,
            "output": output if status == "completed" else [],
            "tools": self.body.get("tools") or [],
            "status": status,
            "usage": usage if status == "completed" else None,
        }

    def _message(self) -> dict[str, Any]:
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "content": [],
            "model": self.model, "stop_reason": None,
        }  # fmt: skip

    def _anthropic(self) -> dict[str, int]:
        prompt, completion = self.counts
        return {
            "input_tokens": prompt - self.cached,
            "cache_read_input_tokens": self.cached,
            "output_tokens": completion,
        }

    def _usage(self, prompt: int, completion: int) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        return {**usage, "prompt_tokens_details": {"cached_tokens": self.cached}}


def _without_counts(value: dict[str, Any]) -> dict[str, Any]:
    inner = {
        name: _without_counts(part)
        for name, part in value.items()
        if name in ("response", "message") and isinstance(part, dict)
    }
    return {name: part for name, part in {**value, **inner}.items() if name != "usage"}


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _event(value: dict[str, Any] | None, name: str) -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + (b"[DONE]" if value is None else _dump(value)) + b"\n\n"
