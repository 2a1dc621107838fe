"""`/v1/responses`, as a type."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adapterworks.gateway.request.typed.asked import Asked, bounded_tools
from adapterworks.gateway.request.typed.opening import opening, until_first_user
from adapterworks.gateway.request.typed.values import (
    MOST_TOOLS,
    Biases,
    EndUser,
    Factor,
    Grammar,
    Metadata,
    Object,
    Penalty,
    ResponsesToolChoice,
    Seed,
    Share,
    Stop,
    Temperature,
    TextOrObjects,
    Texts,
    TokenIds,
    Tokens,
    Top,
    TopK,
)


class Responses(Asked):
    """One response; nothing of it is kept."""

    input: TextOrObjects
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    max_tool_calls: Tokens | None = None
    include: Texts | None = None
    metadata: Metadata | None = None
    logit_bias: Biases | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Object | None = None
    include_reasoning: bool = True
    temperature: Temperature | None = None
    text: Grammar | None = None
    tool_choice: ResponsesToolChoice | None = None
    tools: Annotated[list[Object], Field(max_length=MOST_TOOLS)] | None = None
    top_logprobs: Top | None = None
    top_p: Share | None = None
    top_k: TopK | None = None
    min_p: Share | None = None
    truncation: Literal["auto", "disabled"] | None = None
    skip_special_tokens: bool | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    include_stop_str_in_output: bool | None = None
    structured_outputs: Grammar | None = None
    repetition_penalty: Factor | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    stop_token_ids: TokenIds | None = None
    ignore_eos: bool | None = None
    chat_template_kwargs: Object | None = None
    store: bool | None = None
    safety_identifier: EndUser = ""
    prompt_cache_key: EndUser = ""
    service_tier: str | None = None

    @property
    def limit(self) -> int | None:
        """`max_output_tokens`."""
        return self.max_output_tokens

    @property
    def end_user(self) -> str:
        """`user`, or what newer clients send instead."""
        return self.user or self.safety_identifier

    @property
    def opening(self) -> str:
        """The cache's key, which clients keep for a conversation, or its first turns."""
        return self.prompt_cache_key or opening(self.instructions, until_first_user(self.input))

    @property
    def hidden(self) -> bool:
        """Reasoning may be left out, and calls of tools come when they are complete."""
        return self.tools is not None or not self.include_reasoning

    def check(self) -> None:
        """Refuse tools that the engine would compile without end."""
        if self.tools is not None and self.tool_choice != "none":
            bounded_tools(self.tools, forced=self.tool_choice not in (None, "auto"))
