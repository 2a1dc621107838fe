"""The row: what every source and every format ends as, and what everything downstream reads.

Invariant: a row is either a conversation (`messages`, with at least one assistant turn, the last
message being one) or plain text for continued pre-training (`text`); never both. Rows are
never changed in place; `meta` carries where a row came from and what metrics and gates may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypedDict

from adapterworks.manifests.digests import canonical_json, digest_bytes

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Row:
    """One example.

    Attributes:
        messages: the turns, ending with the answer; empty for a text row.
        meta: JSON values that are not shown to the model (code, category, `rejected`, `source`, …);
            `row` is the row's 1-based number in its source.
        text: the whole of a text row.
    """

    messages: tuple[Message, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the final answer: what generation is given."""
        return self.messages[:-1]

    @property
    def question(self) -> str:
        """The last user turn; empty for a text row."""
        return next((m["content"] for m in reversed(self.prompt) if m["role"] == "user"), "")

    @property
    def answer(self) -> str:
        """The final assistant turn; a text row's whole text."""
        return self.text if self.text is not None else self.messages[-1]["content"]

    @property
    def number(self) -> int | None:
        """The row's 1-based number in its source, where known."""
        value = self.meta.get("row")
        return value if isinstance(value, int) else None

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of what the model sees (not of `meta`)."""
        content = {"text": self.text} if self.text is not None else {"messages": [*self.messages]}
        return digest_bytes(canonical_json(content))

    def with_meta(self, **values: Any) -> Row:
        """The same row with further meta values."""
        return replace(self, meta={**self.meta, **values})

    def excerpt(self, limit: int = 160) -> str:
        """One line that shows the row in an error message."""
        shown = (
            self.text
            if self.text is not None
            else " | ".join(f"{m['role']}: {m['content']}" for m in self.messages)
        )
        line = " ".join(shown.split())
        return line if len(line) <= limit else line[: limit - 1] + "…"


def chat(user: str, assistant: str, **meta: Any) -> Row:
    """A conversation of one question and one answer."""
    return Row(
        ({"role": "user", "content": user}, {"role": "assistant", "content": assistant}), meta
    )


def rows_digest(rows: Iterable[Row]) -> str:
    """`sha256:…` of an ordered collection of rows: the digest of their digests."""
    return digest_bytes("\n".join(row.digest for row in rows).encode())
