"""`/generate`, ours, as a type: one prompt, one adapter, one text.

Two spellings of one request: `prompt`, and `query` with `system_prompt`, as services that answered
`{"response", "generation_time"}` were called before they stood behind a gateway.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from adapterworks.gateway.request.typed.asked import contradiction
from adapterworks.gateway.request.typed.values import (
    ModelName,
    Seed,
    Share,
    Stop,
    Temperature,
    Tokens,
)


class Generate(BaseModel):
    """One prompt; unknown fields are refused. Without `adapter` the configured one answers."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    adapter: ModelName
    prompt: str | None = None
    query: str | None = None
    system_prompt: str | None = None
    max_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    seed: Seed | None = None
    stop: Stop | None = None

    def as_chat(self) -> dict[str, Any]:
        """The body of the chat completion that it is: the prompt is one user message.

        Raises:
            InvalidField: there is no prompt, or there are two.
        """
        if self.prompt is not None and self.query is not None:
            raise contradiction("query", "is `prompt` under another name: send one of them")
        asked = self.query if self.prompt is None else self.prompt
        if asked is None:
            raise contradiction("query", "is missing (or `prompt`, which is the same)")
        own = {"adapter", "prompt", "query", "system_prompt"}
        same = self.model_dump(exclude=own, exclude_none=True)
        messages = [{"role": "user", "content": asked}]
        if self.system_prompt:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        return {**same, "model": self.adapter, "messages": messages}


def as_generated(answer: dict[str, Any], seconds: float) -> dict[str, Any]:
    """A chat completion's answer, reduced to its text.

    Args:
        seconds: that the engine took.

    Raises:
        LookupError, TypeError: it is not one.
    """
    text = answer["choices"][0]["message"]["content"]
    return {
        "adapter": answer["model"],
        "text": text,
        "response": text,
        "generation_time": round(seconds, 6),
        "usage": answer.get("usage"),
    }
