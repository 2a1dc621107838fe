"""`/v1/messages`, Anthropic's, and the counting of its tokens, as types."""

from __future__ import annotations

from adapterworks.gateway.request.typed.asked import Asked
from adapterworks.gateway.request.typed.opening import opening, until_first_user
from adapterworks.gateway.request.typed.values import (
    Grammar,
    MessagesTools,
    Metadata,
    Object,
    Share,
    Temperature,
    TextOrObjects,
    Texts,
    Tokens,
    TopK,
)
from adapterworks.gateway.request.typed.values import (
    Messages as MessageList,
)


class CountTokens(Asked):
    """How many tokens messages have; `/v1/messages/count_tokens`."""

    messages: MessageList
    output_config: Grammar | None = None
    thinking: Object | None = None
    system: TextOrObjects | None = None
    tool_choice: Object | None = None
    tools: MessagesTools | None = None
    metadata: Metadata | None = None

    @property
    def end_user(self) -> str:
        """`metadata.user_id`."""
        found = (self.metadata or {}).get("user_id")
        return found[:512].replace("\0", "") if isinstance(found, str) else self.user

    @property
    def opening(self) -> str:
        """The first turns."""
        return opening(self.system, until_first_user(self.messages))


class Messages(CountTokens):
    """One message in answer to others."""

    max_tokens: Tokens
    stop_sequences: Texts | None = None
    temperature: Temperature | None = None
    top_k: TopK | None = None
    top_p: Share | None = None
    service_tier: str | None = None

    @property
    def limit(self) -> int | None:
        """`max_tokens`, which this endpoint demands."""
        return self.max_tokens

    @property
    def hidden(self) -> bool:
        """Calls of tools come when they are complete."""
        return self.tools is not None
