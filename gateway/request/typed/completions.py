"""`/v1/completions`, as a type."""

from __future__ import annotations

from adapterworks.gateway.request.typed.asked import Sampled, contradiction
from adapterworks.gateway.request.typed.opening import opening
from adapterworks.gateway.request.typed.values import (
    Metadata,
    Prompt,
    SomeTokens,
    Top,
    prompts_in,
)

USUAL_TOKENS = 16  # what the API answers with where nothing is asked for


class Completion(Sampled):
    """One or several texts or lists of token ids to go on with."""

    prompt: Prompt
    max_tokens: SomeTokens = USUAL_TOKENS
    echo: bool = False
    logprobs: Top | None = None
    prompt_logprobs: SomeTokens | None = None
    suffix: str | None = None
    best_of: int | None = None
    store: bool | None = None
    metadata: Metadata | None = None

    @property
    def prompts(self) -> int:
        """The texts, or lists of token ids, of `prompt`."""
        return prompts_in(self.prompt)

    @property
    def limit(self) -> int | None:
        """`max_tokens`, which is never without a bound here."""
        return max(1, self.max_tokens)

    @property
    def opening(self) -> str:
        """Of the first prompt."""
        return opening(self.prompt)

    @property
    def scores_prompt(self) -> bool:
        """Whether log-probabilities of the prompt's own tokens are asked for; 0 asks for them."""
        return self.prompt_logprobs is not None or (self.echo and self.logprobs is not None)

    def check(self) -> None:
        """Refuse the prompt's scores in a stream, and the best of more answers than are given."""
        super().check()
        if self.scores_prompt and self.stream:
            param = "logprobs" if self.prompt_logprobs is None else "prompt_logprobs"
            raise contradiction(param, "of the prompt are not streamed: leave `stream` out")
        if self.max_tokens == 0 and not self.echo:
            raise contradiction("max_tokens", "is 0: nothing would be answered")
        if self.best_of not in (None, self.n):
            raise contradiction(
                "best_of", "is not supported: ask for `n` answers with `logprobs` and choose"
            )
