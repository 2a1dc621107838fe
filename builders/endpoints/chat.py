"""A question to an endpoint, what was said to it, and the most that either can cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_OVERHEAD = 64  # tokens of a template around the turns


@dataclass(frozen=True, slots=True)
class Chat:
    """One question.

    Attributes:
        messages: turns in OpenAI's form.
        max_tokens: longest answer.
        tools: functions that may be called, in OpenAI's form.
        temperature: 0 is the likeliest answer.
        seed: of the draws, for endpoints that know one.
        top_p: of the draws; 1 draws from all tokens.
    """

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    tools: Sequence[Mapping[str, Any]] = ()
    temperature: float = 0.0
    seed: int | None = None
    top_p: float = 1.0

    @property
    def most_prompt(self) -> int:
        """Tokens that it can be read as: no tokenizer makes more of a text than it has bytes."""
        return sum(len(str(turn["content"]).encode()) for turn in self.messages) + _OVERHEAD

    @property
    def most_tokens(self) -> int:
        """Tokens that it can cost, with its answer."""
        return self.most_prompt + self.max_tokens

    def fields(self) -> dict[str, Any]:
        """The request's fields, without the model."""
        given: dict[str, Any] = {
            "messages": list(self.messages),
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        if self.tools:
            given["tools"] = list(self.tools)
        if self.seed is not None:
            given["seed"] = self.seed
        if self.top_p != 1.0:
            given["top_p"] = self.top_p
        return given


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        text: what was said; empty where it only calls tools.
        cut: it ended because it was too long.
        prompt_tokens, completion_tokens: as the endpoint counts them; 0 where it does not say.
        tool_calls: what it calls, in OpenAI's form.
        lost: how often it was sent before and may have been answered, and billed, unheard.
        declined: why this chat is not answered, in the endpoint's words; then there is no text,
            and nothing was billed.
    """

    text: str
    cut: bool
    prompt_tokens: int
    completion_tokens: int
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    lost: int = 0
    declined: str = ""

    def spent(self, chat: Chat) -> tuple[int, int]:
        """Tokens of prompt and answer; where the endpoint does not count, or was not heard, the
        most that they can have been."""
        most = chat.most_prompt, chat.max_tokens
        known = self.declined or self.prompt_tokens + self.completion_tokens
        heard = (self.prompt_tokens, self.completion_tokens) if known else most
        return heard[0] + self.lost * most[0], heard[1] + self.lost * most[1]

    def cost(self, chat: Chat) -> int:
        """Tokens of prompt and answer together, as `spent` has them."""
        return sum(self.spent(chat))
