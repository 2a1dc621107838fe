"""`/v1/messages`, Anthropic's, and the counting of its tokens, as types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adapterworks.gateway.request.typed.asked import Asked, bounded_tools, contradiction
from adapterworks.gateway.request.typed.opening import opening, until_first_user
from adapterworks.gateway.request.typed.values import (
    MOST_TOOLS,
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
        return self.tools is not None or bool(added(self.messages))

    def check(self) -> None:
        """Refuse tools, of the request or of a later turn, that are too many or have no bound."""
        tools = [*(self.tools or ()), *added(self.messages)]
        if len(tools) > MOST_TOOLS:
            raise contradiction("tools", f"are {len(tools)}, and {MOST_TOOLS} are the most")
        choice = (self.tool_choice or {}).get("type")
        if tools and choice != "none":
            bounded_tools(tools, forced=choice not in (None, "auto"))


def added(messages: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The tools that turns of the system define on the way (vLLM 0.32's `tool_addition`)."""
    found = []
    for message in messages:
        content = message.get("content")
        if message.get("role") != "system" or not isinstance(content, list):
            continue
        for block in content:
            tool = block.get("tool") if isinstance(block, dict) else None
            if isinstance(tool, dict) and block.get("type") == "tool_addition":
                found.append(tool.get("definition"))
    return [tool for tool in found if tool is not None]
