"""`/v1/embeddings`, as a type."""

from __future__ import annotations

from typing import Literal

from adapterworks.gateway.request.typed.asked import Asked, contradiction
from adapterworks.gateway.request.typed.values import Prompt, Tokens, TopK, prompts_in


class Embeddings(Asked):
    """Texts or lists of token ids to be made vectors of."""

    input: Prompt
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Tokens | None = None
    truncate_prompt_tokens: TopK | None = None

    @property
    def prompts(self) -> int:
        """The texts, or lists of token ids, of `input`."""
        return prompts_in(self.input)

    def check(self) -> None:
        """Refuse a stream of vectors."""
        if self.stream:
            raise contradiction("stream", "is not something that embeddings have")
