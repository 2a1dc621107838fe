"""What the chats of one batch hold of a budget.

Invariant: a chat holds the most that it can cost until it is heard, and then what it cost; a try
that may have been billed unheard is held as one more. The sum never exceeds what was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.price import Price


class Ledger:
    """The account of one batch within a budget.

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
        self._tries = [0] * len(chats)  # that may have been billed
        self._room = [1] * len(chats)  # tries that are held
        self._said: dict[int, Answer] = {}

    def sent(self, number: int) -> None:
        """A chat is sent once more, which may be billed."""
        self._tries[number] += 1

    def unbilled(self, number: int) -> None:
        """The last time that it was sent, it was not billed."""
        self._tries[number] -= 1

    def again(self, number: int) -> bool:
        """Whether a chat can be paid once more, beside what all others hold now; it then holds
        that, too."""
        before, self._room[number] = self._room[number], self._tries[number] + 1
        tokens, money = _sums([self._held(n) for n in range(len(self._chats))], self._price)
        if tokens > self._left or (self._money is not None and money > self._money):
            self._room[number] = before
            return False
        return True

    def heard(self, number: int, said: Answer) -> None:
        """A chat cost what it cost; the rest of what it held is free."""
        self._said[number] = said

    @property
    def answered(self) -> list[Answer]:
        """The answers up to the first that is missing."""
        found: list[Answer] = []
        while len(found) in self._said:
            found.append(self._said[len(found)])
        return found

    @property
    def spent(self) -> tuple[int, Decimal]:
        """Tokens and money of what was heard, or may have been billed unheard."""
        return _sums([self._cost(n, self._tries[n]) for n in range(len(self._chats))], self._price)

    def _held(self, number: int) -> tuple[int, int]:
        return self._cost(number, self._room[number])

    def _cost(self, number: int, tries: int) -> tuple[int, int]:
        """Tokens of prompt and answer of a chat that is heard, or was tried so often."""
        chat, said = self._chats[number], self._said.get(number)
        if said is not None:
            return said.spent(chat)
        return tries * chat.most_prompt, tries * chat.max_tokens


def _sums(held: Sequence[tuple[int, int]], price: Price) -> tuple[int, Decimal]:
    prompts, answers = sum(one[0] for one in held), sum(one[1] for one in held)
    return prompts + answers, price.of(prompts, answers)
