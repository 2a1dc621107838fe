"""The tokens of one answer, as the engine counts them while it answers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adapterworks.gateway.request.cost import Cost

# Tokens that an engine makes of one sequence in a second: more than any, each after the one before.
FASTEST = 2000
# No answer has as many, and the sum over all parts of a request is one that metering takes.
_MOST = 2**40


class Unusable(ValueError):
    """Counts that are none: negative, no integers, or missing a part."""


@dataclass(slots=True)
class Usage:
    """Tokens of one answer, as the engine counted them so far; no count of its own ever falls.

    Attributes:
        prompt: tokens of the prompt, those that came from a cache included.
        cached: those of them that came from the engine's cache.
        completion: tokens of the answer, reasoning included.
        reasoning: those of them that are reasoning.
        final: the engine has said what the whole answer cost.
        prompt_known, completion_known: so far; what is not known is charged at its most.
        bounded: `completion` is no count, but the most tokens that what was shown can be.
        unseen: since when a choice may have made tokens that no event has counted yet, by its
            index; monotonic seconds. They are charged as many as there was time for.
        estimated: some of it was charged at its most.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    final: bool = False
    prompt_known: bool = False
    completion_known: bool = False
    bounded: bool = False
    unseen: dict[int, float] = field(default_factory=dict)
    estimated: bool = False

    @property
    def total(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt + self.completion

    def take(self, counts: Counts) -> None:
        """The engine's count of the whole answer."""
        self.prompt = max(self.prompt, counts.prompt)
        self.completion = max(self.completion, counts.completion)
        self.cached = max(self.cached, counts.cached)
        self.reasoning = max(self.reasoning, counts.reasoning)
        self.final = True

    def after(self, parts: Counts, *, estimated: bool) -> Usage:
        """With what the parts of the request before it have cost.

        Args:
            estimated: some of those parts were charged at their most.
        """
        return replace(
            self,
            prompt=self.prompt + parts.prompt,
            completion=self.completion + parts.completion,
            cached=self.cached + parts.cached,
            reasoning=self.reasoning + parts.reasoning,
            estimated=self.estimated or estimated,
        )

    def settle(self, most: Cost) -> None:
        """The answer is over: what nobody counted is charged at its most."""
        if self.final:
            return
        if not self.prompt_known:
            self.prompt = max(self.prompt, most.prompt)
        if self.bounded:
            self.completion = min(self.completion, most.completion)
        if not self.completion_known:
            self.completion = max(self.completion, most.completion)
        if self.unseen:
            now = time.monotonic()
            made = math.ceil(sum(now - since for since in self.unseen.values()) * FASTEST)
            self.completion = max(self.completion, min(self.completion + made, most.completion))
            self.unseen = {}  # charged once, however often the answer's cost is asked for
            self.estimated = True
        self.estimated |= self.bounded or not (self.prompt_known and self.completion_known)


@dataclass(frozen=True, slots=True)
class Counts:
    """What one `usage` object says."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
        )


def read_counts(usage: Any) -> Counts:
    """The counts of a `usage` object, in OpenAI's or Anthropic's words.

    Anthropic's `input_tokens` are those that were neither read from nor written to a cache.

    Raises:
        Unusable: it has no counts of prompt and answer, or impossible ones.
    """
    if not isinstance(usage, dict):
        raise Unusable("no counts")
    if "prompt_tokens" in usage:
        return Counts(
            _count(usage, "prompt_tokens"),
            # Of an embedding there is no answer to count.
            _count(usage, "completion_tokens") if usage.get("completion_tokens") is not None else 0,
            _detail(usage, "prompt_tokens_details", "cached_tokens"),
            _detail(usage, "completion_tokens_details", "reasoning_tokens"),
        )
    read = _count(usage, "cache_read_input_tokens", 0)
    written = _count(usage, "cache_creation_input_tokens", 0)
    return Counts(
        _count(usage, "input_tokens") + read + written,
        _count(usage, "output_tokens"),
        max(read, _detail(usage, "input_tokens_details", "cached_tokens")),
        _detail(usage, "output_tokens_details", "reasoning_tokens"),
    )


def _count(usage: Mapping[str, Any], name: str, absent: int | None = None) -> int:
    value = usage.get(name)
    if value is None and absent is not None:
        return absent
    if type(value) is not int or not 0 <= value <= _MOST:
        raise Unusable(f"`{name}` is no count")
    return value


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return _count(details, name, 0) if isinstance(details, dict) else 0
