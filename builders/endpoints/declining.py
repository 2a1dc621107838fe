"""Refusals that are about one chat: it is too long for the model, or a filter keeps it away.

Servers agree on no code for either: OpenAI, Azure and llama.cpp name one, vLLM, TGI, Mistral and
Anthropic say it in words. What is neither (a model that is not there, a parameter that is unknown,
credit that is used up: all of them 400 somewhere) is about the run.

Invariant: pure. A refusal that is not understood is never taken for one chat's.
"""

from __future__ import annotations

import json
import re

_STATUS = frozenset({400, 413, 422})
_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "context_length_exceeded",
        "exceed_context_size_error",
        "invalid_prompt",
        "request_too_large",
        "string_above_max_length",
    }
)
_WORDS = re.compile(
    r"context (?:length|size|window)"
    r"|prompt (?:is|was) (?:too long|flagged)|prompt contains \d+ tokens"
    r"|(?:input|inputs|prompt)\W+(?:tokens|length)\b.{0,40}\b(?:must be <=|exceeds?)"
    r"|content (?:filter|management policy|policy)",
    re.IGNORECASE,
)


def declined(status: int, answer: bytes) -> bool:
    """Whether a refusal is about the chat that was sent, so that others may be answered.

    Args:
        status: of HTTP.
        answer: the body, an error in OpenAI's form or any other text.
    """
    if status not in _STATUS:
        return False
    if status == 413:
        return True
    try:
        said = json.loads(answer)
        error = said.get("error", said)
        codes = {error.get("code"), error.get("type")} if isinstance(error, dict) else set()
        text = str(error.get("message", "")) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError, TypeError, RecursionError):
        codes, text = set(), answer.decode("utf-8", "replace")
    return bool(_CODES & {code for code in codes if isinstance(code, str)} or _WORDS.search(text))
