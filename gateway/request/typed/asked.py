"""What every typed request says of itself, whatever its endpoint calls it.

Invariant: what stands here is decided once, from checked values; behind the edge nobody looks into
the client's JSON again. The JSON itself goes to the engine, reduced to the fields of the type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.request.typed.media import compiled
from adapterworks.gateway.request.typed.values import (
    Biases,
    Choices,
    EndUser,
    Factor,
    Grammar,
    ModelName,
    Penalty,
    ResponseFormat,
    Seed,
    Share,
    Side,
    SomeTokens,
    Stop,
    Temperature,
    Texts,
    TokenIds,
    TopK,
)

Keep = Literal["none", "last", "all"]
"""Which token counts of a stream the client asked for: none, those of the last event, or all."""


class Asked(BaseModel):
    """A request as its endpoint's type; the allow-list of fields is the type's.

    Attributes:
        model: the name of what is to answer, as the client wrote it.
        stream: whether the answer comes as events.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=()
    )

    model: ModelName
    stream: bool = False
    user: EndUser = ""

    @property
    def prompts(self) -> int:
        """How many prompts are answered."""
        return 1

    @property
    def choices(self) -> int:
        """How many answers each prompt gets."""
        return 1

    @property
    def sequences(self) -> int:
        """What the engine works on for this request: an answer to a prompt is one sequence."""
        return self.prompts * self.choices

    @property
    def limit(self) -> int | None:
        """The most tokens one answer may have; None if the client sets no bound."""
        return None

    @property
    def keep(self) -> Keep:
        """Which token counts of its stream the client asked for."""
        return "all"

    @property
    def end_user(self) -> str:
        """Whom the client says it asks for; empty if it does not say."""
        return self.user

    @property
    def sticky(self) -> str:
        """What keeps its side of a canary: whom it is asked for, else the conversation."""
        return self.end_user or self.opening

    @property
    def opening(self) -> str:
        """What the conversation begins with."""
        return ""

    @property
    def scores_prompt(self) -> bool:
        """Whether log-probabilities of the prompt's own tokens are asked for."""
        return False

    @property
    def hidden(self) -> bool:
        """Whether tokens may be made that no event of the stream shows."""
        return False

    def check(self) -> None:
        """Refuse values that contradict one another.

        Raises:
            InvalidField: they do; it names the field.
        """


class StreamOptions(BaseModel):
    """What a stream tells besides the answer."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    include_usage: bool = False
    continuous_usage_stats: bool = False
    include_obfuscation: bool = False


class Sampled(Asked):
    """What chat and completions have in common."""

    n: Choices = 1
    stream_options: StreamOptions | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Factor | None = None
    length_penalty: Factor | None = None
    logit_bias: Biases | None = None
    seed: Seed | None = None
    stop: Stop | None = None
    stop_token_ids: TokenIds | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: TopK | None = None
    min_p: Share | None = None
    min_tokens: SomeTokens = 0
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    add_special_tokens: bool | None = None
    allowed_token_ids: TokenIds | None = None
    bad_words: Texts | None = None
    truncate_prompt_tokens: TopK | None = None
    truncation_side: Side | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: Grammar | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None
    thinking_token_budget: TopK | None = None
    logprob_token_ids: TokenIds | None = None

    @property
    def choices(self) -> int:
        """`n`."""
        return self.n

    @property
    def keep(self) -> Keep:
        """As `stream_options` says."""
        options = self.stream_options
        if options is None or not options.include_usage:
            return "none"
        return "all" if options.continuous_usage_stats else "last"

    def check(self) -> None:
        """Refuse `stream_options` of what is no stream, and a least above the most."""
        if self.stream_options is not None and not self.stream:
            raise contradiction("stream_options", "is for streams only: set `stream` to true")
        if self.limit is not None and self.min_tokens > self.limit:
            raise contradiction("min_tokens", "is above the most tokens that the answer may have")


def bounded_tools(tools: Iterable[Any], *, forced: bool) -> None:
    """Refuse tools of which the engine would compile more than it may.

    Args:
        forced: whether the answer must call one.

    Raises:
        InvalidField: it would.
    """
    try:
        compiled(tools, forced=forced)
    except ValueError as error:
        raise contradiction("tools", str(error)) from error


def contradiction(param: str, what: str) -> InvalidField:
    """The error of a field that another one rules out."""
    return InvalidField(f"`{param}` {what}", param=param)
