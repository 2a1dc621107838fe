"""`/tokenize` and `/detokenize`, vLLM's, as types: a base's tokenizer, and nothing of a model.

An adapter has its base's tokenizer and template, so neither loads an adapter.
"""

from __future__ import annotations

from adapterworks.gateway.request.typed.asked import Asked, contradiction
from adapterworks.gateway.request.typed.values import (
    ChatTools,
    Messages,
    Object,
    TokenIds,
)


class Tokenize(Asked):
    """A text, or a conversation as the template renders it, to be made token ids of."""

    prompt: str | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    tools: ChatTools | None = None
    chat_template_kwargs: Object | None = None

    def check(self) -> None:
        """Refuse both, and neither."""
        if (self.prompt is None) == (self.messages is None):
            raise contradiction("prompt", "or `messages` is to be sent: one of them")
        if self.stream:
            raise contradiction("stream", "is not something that tokens have")


class Detokenize(Asked):
    """Token ids to be made a text of."""

    tokens: TokenIds

    def check(self) -> None:
        """Refuse a stream of one text."""
        if self.stream:
            raise contradiction("stream", "is not something that a text of tokens has")
