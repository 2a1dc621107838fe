"""What is done to the engine's bytes on their way to the client: next to nothing.

The model's name is put back to what the client sent, and token counts that only we asked for are
taken out again. Invariant: events pass whole and in order; inside JSON strings quotes are escaped,
so the byte patterns used here can only match the answer's own structure.
"""

from __future__ import annotations

import json
import re
from typing import Any

from adapterworks.gateway.request.usage import Usage

_USAGE = re.compile(rb',?"usage":(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_CHOICE = re.compile(rb'"choices":\[\{"index":(\d+)')
_END = b"\n\n"
# How the last event of each endpoint begins.
_LAST = (
    b"data: [DONE]",
    b"event: message_stop",
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: response.failed",
)
_DELTA = (b'.delta"', b'"content_block_delta"')


class Rewriter:
    """One streamed answer.

    Args:
        model: the engine's name for what answered.
        ref: the name the client sent.
        usage: counts are kept here as they pass.
        keep: which counts the client asked for: in no event, the last one, or all.
    """

    def __init__(self, model: str, ref: str, usage: Usage, keep: str = "all") -> None:
        self._from = b'"model":' + json.dumps(model).encode()
        self._to = b'"model":' + json.dumps(ref, ensure_ascii=False).encode()
        self._usage = usage
        self._keep = keep
        self._rest = b""
        self._completions: dict[bytes, int] = {}
        self.finished = False

    def feed(self, chunk: bytes) -> bytes:
        """The events completed by this chunk, as the client gets them."""
        data = self._rest + chunk if self._rest else chunk
        end = data.rfind(_END)
        if end < 0:
            self._rest = data
            return b""
        end += len(_END)
        self._rest = data[end:]
        return b"".join(self._event(event + _END) for event in data[:end].split(_END)[:-1])

    def tail(self) -> bytes:
        """What is left when the engine closed the stream without finishing an event."""
        rest, self._rest = self._rest, b""
        return rest

    def _count(self, counts: dict[str, Any], event: bytes, alone: bool) -> None:
        """Take over an event's counts; of several choices, each event counts its own only."""
        read_usage(counts, self._usage)
        choice = _CHOICE.search(event)
        if not alone and choice is not None:
            self._completions[choice.group(1)] = self._usage.completion
            self._usage.completion = sum(self._completions.values())

    def _event(self, event: bytes) -> bytes:
        if event.startswith(_LAST):
            self.finished = True
        if b'"usage":{' in event:
            match = _USAGE.search(event)
            if match is not None:
                alone = b'"choices":[]' in event
                self._count(json.loads(match.group(1)), event, alone)
                if alone and self._keep == "none":
                    return b""
                if self._keep == "none" or (self._keep == "last" and not alone):
                    event = event[: match.start()] + event[match.end() :]
        elif any(marker in event for marker in _DELTA):
            self._usage.completion += 1  # until the endpoint's own count comes at its end
        return event.replace(self._from, self._to, 1)


def rewrite_whole(body: bytes, model: str, ref: str) -> bytes:
    """An answer that is not streamed, with the client's model name."""
    return body.replace(
        b'"model":' + json.dumps(model).encode(),
        b'"model":' + json.dumps(ref, ensure_ascii=False).encode(),
        1,
    )


def read_usage(counts: dict[str, Any], usage: Usage) -> None:
    """Take over OpenAI's or Anthropic's counts; absent ones stay as they are."""
    usage.prompt = counts.get("prompt_tokens", counts.get("input_tokens", usage.prompt))
    usage.completion = counts.get(
        "completion_tokens", counts.get("output_tokens", usage.completion)
    )
    details = counts.get("prompt_tokens_details") or counts.get("input_tokens_details") or {}
    usage.cached = details.get("cached_tokens") or usage.cached
