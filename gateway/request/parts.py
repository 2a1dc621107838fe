"""A list of prompts or of texts that is longer than an engine is wide: asked in turns of what fits.

Invariant: the parts' answers, put together, are the answer to the whole: choices or vectors in the
order of their prompts, and counts that are the sums of what the engine counted. Streams are put
together by `Streamed`, whole answers here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.typed.completions import Completion
from adapterworks.gateway.request.typed.embeddings import Embeddings

_SUMS = ("prompt_tokens", "completion_tokens", "total_tokens")


def in_parts(call: Call, places: int) -> list[Call]:
    """The request in pieces of at most `places` sequences; itself alone if it cannot be cut."""
    asked = call.asked
    if asked.sequences <= places or not isinstance(asked, (Completion, Embeddings)):
        return [call]
    name, suffix = ("prompt", asked.suffix) if isinstance(asked, Completion) else ("input", None)
    prompt, many = getattr(asked, name), places // asked.choices
    if asked.prompts == 1 or not many or isinstance(prompt, str):
        return [call]
    parts = []
    for begin in range(0, len(prompt), many):
        own = prompt[begin : begin + many]
        parts.append(
            replace(
                call,
                asked=asked.model_copy(update={name: own}),
                payload={**call.payload, name: own},
                # Its own, not its share of all: one prompt may be as long as all others together.
                size=len(to_json(own)) + len(own) * len(to_json(suffix)),
            )
        )
    return parts


def put_together(answers: Sequence[dict[str, Any]], parts: Sequence[Call]) -> dict[str, Any]:
    """One answer of those to the parts.

    Raises:
        LookupError, TypeError: an answer has no choices, or vectors, or no counts.
    """
    made = "data" if isinstance(parts[0].asked, Embeddings) else "choices"
    choices: list[dict[str, Any]] = []
    before = 0
    for answer, part in zip(answers, parts, strict=True):
        choices += [{**choice, "index": choice["index"] + before} for choice in answer[made]]
        before += part.asked.sequences
    usage = {
        name: sum(answer["usage"][name] for answer in answers)
        for name in _SUMS
        # Of vectors there is nothing to count.
        if made == "choices" or name in answers[0]["usage"]
    }
    return {**answers[0], made: choices, "usage": usage}
