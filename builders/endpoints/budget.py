"""Chats within a budget of tokens.

Invariant: a request is sent only if the budget is sure to allow it, so it is never exceeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapterworks.builders.endpoints.asking import PARALLEL, Chat, Said
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.endpoints.kept import KeptAnswers


@dataclass(slots=True)
class Budget:
    """What may be spent, and what was.

    Attributes:
        most: tokens of prompts and answers.
        tokens: spent so far; an answer that was kept from before counts as if it were asked again.
        spent: whether a chat was left out for it.
    """

    most: int
    tokens: int = 0
    spent: bool = False

    def ask(
        self,
        kept: KeptAnswers,
        endpoint: Endpoint,
        chats: Sequence[Chat],
        *,
        parallel: int = PARALLEL,
    ) -> list[Said]:
        """The answers to as many of the chats, from the first on, as it is sure to allow.

        Raises:
            Refused, Unavailable: as `ask_endpoint`; what had arrived is kept.
        """
        answers: list[Said] = []
        while len(answers) < len(chats):
            allowed, left = [], self.most - self.tokens
            for chat in chats[len(answers) :]:
                left -= chat.most_tokens
                if left < 0:
                    break
                allowed.append(chat)
            if not allowed:
                self.spent = True
                break
            said = kept.ask(endpoint, allowed, parallel=parallel)
            self.tokens += sum(one.cost(chat) for chat, one in zip(allowed, said, strict=True))
            answers += said
        return answers
