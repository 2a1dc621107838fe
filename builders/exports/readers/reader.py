"""What an engine is asked to prove an export: distributions, greedy tokens, token ids of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

# token id → log-probability; the likeliest ones only, if the engine gives no more
Distribution = Mapping[int, float]


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

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The chat template's text, with the prompt of an answer at its end."""
