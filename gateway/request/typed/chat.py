"""`/v1/chat/completions`, as a type."""

from __future__ import annotations

from typing import Any, Literal

from adapterworks.gateway.request.typed.asked import Sampled, bounded_tools, contradiction
from adapterworks.gateway.request.typed.opening import opening, until_first_user
from adapterworks.gateway.request.typed.values import (
    ChatToolChoice,
    ChatTools,
    EndUser,
    Messages,
    Metadata,
    Object,
    Objects,
    Tokens,
    Top,
)


class Chat(Sampled):
    """One chat completion."""

    messages: Messages
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    logprobs: bool = False
    top_logprobs: Top = 0
    tools: ChatTools | None = None
    tool_choice: ChatToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    include_reasoning: bool = True
    echo: bool = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    documents: Objects | None = None
    chat_template_kwargs: Object | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    safety_identifier: EndUser = ""
    prompt_cache_key: EndUser = ""
    service_tier: str | None = None

    @property
    def limit(self) -> int | None:
        """`max_completion_tokens`, or its older spelling."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def end_user(self) -> str:
        """`user`, or what newer clients send instead."""
        return self.user or self.safety_identifier

    @property
    def opening(self) -> str:
        """The cache's key, which clients keep for a conversation, or its first turns."""
        return self.prompt_cache_key or opening(until_first_user(self.messages))

    @property
    def hidden(self) -> bool:
        """Calls of tools come when their names are known; reasoning may be left out.

        Source: vLLM 0.32, `chat_completion/serving.py`: no event where a parser has nothing to say.
        """
        calls = self.tools is not None and self.tool_choice != "none"
        return calls or not self.include_reasoning

    def check(self) -> None:
        """Refuse two bounds, log-probabilities of the prompt by any spelling, and unknown tools."""
        super().check()
        if self.max_tokens and self.limit != self.max_tokens:
            raise contradiction("max_tokens", "is not what `max_completion_tokens` says: send one")
        if self.echo:
            # vLLM takes it for `prompt_logprobs = top_logprobs`, which is 0 where it is not sent.
            raise contradiction(
                "echo", "is not supported: it asks for the prompt's log-probabilities"
            )
        if self.top_logprobs and not self.logprobs:
            raise contradiction("top_logprobs", "needs `logprobs` to be true")
        if self.continue_final_message and self.add_generation_prompt:
            raise contradiction(
                "continue_final_message", "needs `add_generation_prompt` to be false"
            )
        if self.tool_choice is not None:
            self._check_choice(self.tool_choice)
        if self.tools is not None and self.tool_choice != "none":
            bounded_tools(self.tools, forced=self.tool_choice not in (None, "auto"))

    def _check_choice(self, choice: str | dict[str, Any]) -> None:
        if choice == "none":
            return
        if self.tools is None:
            raise contradiction("tool_choice", "needs `tools`")
        if isinstance(choice, dict):
            name = choice["function"]["name"]
            if name not in {tool["function"]["name"] for tool in self.tools}:
                raise contradiction("tool_choice", "names a function that is not in `tools`")
