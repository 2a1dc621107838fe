"""What an engine said, as others may read it: without addresses, paths and traces.

Invariant: no text of an engine reaches a client, a log or a person but through here.
"""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp

_LONGEST = 300
_TRACE = re.compile(r"Traceback \(most recent call last\).*", re.DOTALL)
# An address (`http://host:1/x`, `10.0.0.3:8000`), a path with at least two parts, a file's line.
_PLACES = re.compile(
    r"""[a-z][a-z0-9+.-]*://[^\s'"`,;)\]}]+
      | (?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?
      | \blocalhost:\d+
      | (?<![\w/.<])~?/[\w.@%+~-]+(?:/[\w.@%+~-]*)+
      | \b[A-Za-z]:\\[^\s'"`,;)]+""",
    re.VERBOSE,
)
# A worker's judgement on the adapter, which vLLM 0.32 passes on as its own failure.
_OF_THE_ADAPTER = re.compile(
    r"add_lora method failed: Worker failed with error .{0,80}"
    r"(LoRA rank|max_lora_rank|target modules|not supported|does not support)"
)


def plain(text: str) -> str:
    """A text without what only those who run the engine may know, on one line."""
    return _PLACES.sub("…", " ".join(_TRACE.sub("", text).split()))


def message(text: str) -> str:
    """The message in an engine's answer, without the JSON around it."""
    try:
        found = _within(json.loads(text))
    except (ValueError, RecursionError):
        found = None
    return plain(text if found is None else found)[:_LONGEST]


def _within(answer: Any) -> str | None:
    """The message where OpenAI's, Anthropic's and FastAPI's errors have it."""
    while isinstance(answer, dict):
        inner = (answer.get(key) for key in ("error", "message", "detail"))
        answer = next((value for value in inner if value), None)
    return answer if isinstance(answer, str) else None


def of_the_adapter(text: str) -> bool:
    """Whether what vLLM calls a failure of its own is a judgement on the adapter."""
    return _OF_THE_ADAPTER.search(text) is not None


def brief(error: BaseException) -> str:
    """Why an engine gave no answer, without where it is."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    closed = isinstance(error, (aiohttp.ClientError, ConnectionError))
    return "it closed the connection" if closed else "unreachable"
