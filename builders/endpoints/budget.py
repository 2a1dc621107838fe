"""Chats within a budget of tokens, and of money.

Invariant: a request is sent, and sent again where it may have been billed, only if both are sure to
allow it, so neither is ever exceeded. One that is to be sent again and has no room waits for what
the others of its batch leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from adapterworks.builders.endpoints.account import Unaffordable
from adapterworks.builders.endpoints.asking import PARALLEL
from adapterworks.builders.endpoints.cache import AnswerCache
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.endpoints.ledger import Ledger
from adapterworks.builders.endpoints.price import FREE, Price


@dataclass(slots=True)
class Budget:
    """What may be spent, and what was.

    Attributes:
        most: tokens of prompts and answers.
        tokens: spent so far; an answer that was kept from before counts as if it were asked again.
        spent: whether a chat was left out for it.
        most_cost: in the currency of the prices; None for no bound.
        prices: of endpoints; one that has none is free.
        cost: spent so far, counted as the tokens are.
    """

    most: int
    tokens: int = 0
    spent: bool = False
    most_cost: Decimal | None = None
    prices: Mapping[Endpoint, Price] = field(default_factory=dict)
    cost: Decimal = Decimal(0)

    def ask(
        self,
        kept: AnswerCache,
        endpoint: Endpoint,
        chats: Sequence[Chat],
        *,
        parallel: int = PARALLEL,
    ) -> list[Answer]:
        """The answers to as many of the chats, from the first on, as it is sure to allow.

        Raises:
            Refused, Unavailable: as `ask_endpoint`; what had arrived is kept.
        """
        answers: list[Answer] = []
        price = self.prices.get(endpoint, FREE)
        while len(answers) < len(chats):
            allowed = self._allowed(chats[len(answers) :], price)
            if not allowed:
                self.spent = True
                break
            money = None if self.most_cost is None else self.most_cost - self.cost
            ledger = Ledger(allowed, price, self.most - self.tokens, money)
            try:
                answers += kept.ask(endpoint, allowed, parallel=parallel, account=ledger)
            except Unaffordable:
                self.spent = True
                answers += ledger.answered
                break
            finally:
                tokens, cost = ledger.spent
                self.tokens += tokens
                self.cost += cost
        return answers

    def _allowed(self, chats: Sequence[Chat], price: Price) -> list[Chat]:
        """Those, from the first on, that can all cost the most they can."""
        allowed, left = [], self.most - self.tokens
        money = None if self.most_cost is None else self.most_cost - self.cost
        for chat in chats:
            left -= chat.most_tokens
            if money is not None:
                money -= price.of(chat.most_prompt, chat.max_tokens)
            if left < 0 or (money is not None and money < 0):
                break
            allowed.append(chat)
        return allowed
