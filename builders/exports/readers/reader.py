"""What an engine is asked to prove an export: distributions, greedy tokens, token ids of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Talk = Sequence[Mapping[str, str]]  # turns: `role` and `content`
# token id → log-probability; the likeliest ones only, if the engine gives no more
Distribution = Mapping[int, float]


class Unrendered(Exception):
    """A chat template refuses a talk; its text says why, if the template does."""


class Reader(Protocol):
    """An engine that has loaded an export."""

    name: str
    version: str

    def next_token(self, token_ids: Sequence[int], count: int) -> Distribution:
        """The `count` likeliest tokens after these, natural logarithms."""

    def greedy(self, token_ids: Sequence[int], count: int) -> list[int]:
        """The `count` tokens that follow, each the likeliest; fewer if an end token comes.

        The end token itself may be the last of them, or be left out.
        """

    def ends_with(self, token_ids: Sequence[int], token: int) -> bool:
        """Whether an answer to these ids is over when its first token is this one."""

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, control tokens parsed, none added."""

    def render(self, messages: Talk) -> str:
        """The chat template's text, with the prompt of an answer at its end.

        Raises:
            Unrendered: the template refuses the talk.
        """


def rendered(tokenizer: Any, messages: Talk, *, answer: bool = True) -> str:
    """The text of a talk by a tokenizer of `transformers`.

    Args:
        answer: with the prompt of an answer at its end.

    Raises:
        Unrendered: the template refuses it, by `raise_exception` or by what it does with a turn.
    """
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=answer
        )
    except (TemplateError, TypeError, ValueError, LookupError) as error:
        raise Unrendered(" ".join(str(error).split())[:200]) from error
    return text
