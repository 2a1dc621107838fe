"""Who is told what a batch of chats costs, while it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from adapterworks.builders.endpoints.chat import Answer


class Account(Protocol):
    """Keeps count of what may cost something, chat by chat; chats are known by their numbers."""

    def sent(self, number: int) -> None:
        """A chat is sent: it may be billed from now on, whatever becomes of this process."""

    def unbilled(self, number: int) -> None:
        """The last time that a chat was sent, it was not billed."""

    def again(self, number: int) -> bool:
        """Whether a chat may be sent, and billed, once more."""

    def heard(self, number: int, said: Answer) -> None:
        """A chat is answered."""


class Unaffordable(Exception):
    """The account allows no other try of a chat, though nothing else is under way."""


class Free:
    """Keeps no count: everything may be sent again."""

    def sent(self, number: int) -> None: ...

    def unbilled(self, number: int) -> None: ...

    def again(self, number: int) -> bool:
        return True

    def heard(self, number: int, said: Answer) -> None: ...
