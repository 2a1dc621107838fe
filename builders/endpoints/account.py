"""Who is told what a batch of chats costs, while it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from adapterworks.builders.endpoints.chat import Said


class Account(Protocol):
    """Is told, by the number of a chat, what may cost something as soon as it may."""

    def sent(self, number: int) -> None:
        """It goes out, and may be billed from now on, whatever becomes of this process."""

    def unbilled(self, number: int) -> None:
        """What went out last was not billed."""

    def again(self, number: int) -> bool:
        """Whether it may be sent, and cost, once more."""

    def heard(self, number: int, said: Said) -> None:
        """It is answered."""


class Unaffordable(Exception):
    """The account allows no other try of a chat, though nothing else is under way."""


class Free:
    """An account of nothing."""

    def sent(self, number: int) -> None: ...

    def unbilled(self, number: int) -> None: ...

    def again(self, number: int) -> bool:
        return True

    def heard(self, number: int, said: Said) -> None: ...
