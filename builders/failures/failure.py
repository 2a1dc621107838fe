"""One answer that was wrong, wherever that was learnt: frozen, and checked where it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapterworks.builders.data.rows import Message


@dataclass(frozen=True)
class Failure:
    """A question that was answered wrongly.

    Attributes:
        prompt: the turns that were asked.
        answer: what was said.
        correction: what it should have been; None where nobody said. A test row's reference is no
            correction: it may not be learnt.
        place: where it is from, for people (`test row 17`, a receipt).
        tenant: whose question it was; None for the operator's own.
        share: whose adapters may learn from it, as the tenant said.
        release: digest of what said it, where that is known.
    """

    prompt: tuple[Message, ...]
    answer: str
    correction: str | None
    place: str
    tenant: str | None = None
    share: str = "own"
    release: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last user turn."""
        return next((m["content"] for m in reversed(self.prompt) if m["role"] == "user"), "")
