"""How written questions are answered: likeliest first, and once more as a draw beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.synthesis.making import Asking


@dataclass(frozen=True, slots=True)
class Answering:
    """Settings of the writer.

    Attributes:
        tokens: longest answer.
        temperature: of what is written, and of second answers; first answers are the likeliest.
        seed: of the draws.
    """

    tokens: int = 512
    temperature: float = 0.7
    seed: int = 0

    def of(self, turns: Sequence[Message]) -> Chat:
        """Ask for an answer."""
        return Chat(turns, self.tokens)

    def again(self, turns: Sequence[Message]) -> Chat:
        """Ask for another answer to the same turns."""
        return self.drawn(self.of(turns), 1)

    def drawn(self, chat: Chat, number: int) -> Chat:
        """A chat whose answer is drawn.

        Args:
            number: of the draw: another one draws anew.
        """
        return replace(chat, temperature=self.temperature, seed=self.seed + number)

    def taken(self, rows: Sequence[Row], said: Sequence[Answer], asking: Asking) -> list[Row]:
        """The rows with what was said as their answers; without those that were cut or empty, and
        without those that the budget left unanswered."""
        found = []
        for row, one in zip(rows, said, strict=False):
            if one.cut or not one.text.strip():
                asking.leave_out("cut" if one.cut else "empty")
            else:
                answer: Message = {"role": "assistant", "content": one.text.strip()}
                found.append(replace(row, messages=(*row.messages[:-1], answer)))
        return found
