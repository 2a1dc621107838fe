"""What the chats of one batch hold of a budget.

Invariant: a chat holds the most that it can cost until it is heard, and then what it cost; a try
that may have been billed unheard is held as one more. The sum never exceeds what was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from adapterworks.builders.endpoints.asking import Chat, Said
from adapterworks.builders.endpoints.price import Price


class Ledger:
    """Of one batch.

    Args:
        chats: which can all cost the most they can.
        price: of their endpoint.
        tokens: that are left for them.
        money: that is left for them, in the currency of the price; None for no bound.
    """

    def __init__(
        self, chats: Sequence[Chat], price: Price, tokens: int, money: Decimal | None
    ) -> None:
        self._chats, self._price = chats, price
        self._left, self._money = tokens, money
        self._held = [(chat.most_prompt, chat.max_tokens) for chat in chats]
        self._said: dict[int, Said] = {}
        self._lost: set[int] = set()

    def heard(self, number: int, said: Said) -> None:
        """A chat cost what it cost; the rest of what it held is free."""
        self._said[number] = said
        self._held[number] = said.spent(self._chats[number])

    def again(self, chat: Chat) -> bool:
        """Whether a chat can be paid once more, beside what all others hold now; it then holds
        that, too."""
        number = self._chats.index(chat)
        self._lost.add(number)
        prompt, completion = self._held[number]
        more = prompt + chat.most_prompt, completion + chat.max_tokens
        held = [*self._held[:number], more, *self._held[number + 1 :]]
        tokens, money = _sums(held, self._price)
        if tokens > self._left or (self._money is not None and money > self._money):
            return False
        self._held = held
        return True

    @property
    def answered(self) -> list[Said]:
        """The answers up to the first that is missing."""
        found: list[Said] = []
        while len(found) in self._said:
            found.append(self._said[len(found)])
        return found

    @property
    def spent(self) -> tuple[int, Decimal]:
        """Tokens and money of what was heard, or may have been billed unheard."""
        counted = sorted(self._lost | self._said.keys())
        return _sums([self._held[number] for number in counted], self._price)


def _sums(held: Sequence[tuple[int, int]], price: Price) -> tuple[int, Decimal]:
    prompts, answers = sum(one[0] for one in held), sum(one[1] for one in held)
    return prompts + answers, price.of(prompts, answers)
