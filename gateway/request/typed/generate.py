"""`/generate`, ours, as a type: one prompt, one adapter, one text."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from adapterworks.gateway.request.typed.values import (
    ModelName,
    Seed,
    Share,
    Stop,
    Temperature,
    Tokens,
)


class Generate(BaseModel):
    """One prompt; unknown fields are refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    adapter: ModelName
    prompt: str
    max_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    seed: Seed | None = None
    stop: Stop | None = None

    def as_chat(self) -> dict[str, Any]:
        """The body of the chat completion that it is: the prompt is one user message."""
        same = self.model_dump(exclude={"adapter", "prompt"}, exclude_none=True)
        message = {"role": "user", "content": self.prompt}
        return {**same, "model": self.adapter, "messages": [message]}


def as_generated(answer: dict[str, Any]) -> dict[str, Any]:
    """A chat completion's answer, reduced to its text.

    Raises:
        LookupError, TypeError: it is not one.
    """
    return {
        "adapter": answer["model"],
        "text": answer["choices"][0]["message"]["content"],
        "usage": answer.get("usage"),
    }
