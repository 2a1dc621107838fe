"""Items → rows, a turn of items at a time, within budgets: what all ways of making rows share.

Invariant: a function of the items, the settings and the answers, in the order of the items; so a
run that was killed and goes on with the same answers ends as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Protocol, TypeVar

from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.asking import PARALLEL
from adapterworks.builders.endpoints.budget import Budget
from adapterworks.builders.endpoints.cache import AnswerCache
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.endpoint import Endpoint

# Turns without a row after which items without an end are taken to have nothing more to give.
IDLE = 3
Item = TypeVar("Item")
Takes = TypeVar("Takes", contravariant=True)


@dataclass(slots=True)
class Asking:
    """Who is asked within which budget, and what came of nothing.

    Attributes:
        writer: writes.
        judge: judges what was written; None leaves that out.
        kept: what was said before is not asked again, and counts in the budget as if it were.
        parallel: requests at once.
        left_out: what gave no row, by the reason.
    """

    writer: Endpoint
    judge: Endpoint | None
    kept: AnswerCache
    budget: Budget
    parallel: int = PARALLEL
    left_out: dict[str, int] = field(default_factory=dict)

    def write(self, chats: Sequence[Chat]) -> list[Answer]:
        """What the writer says to as many of the chats, from the first on, as the budget allows.

        Raises:
            Refused, Unavailable: it refuses, or does not answer; what it said is kept.
        """
        return self.budget.ask(self.kept, self.writer, chats, parallel=self.parallel)

    def judged(self, chats: Sequence[Chat]) -> list[Answer]:
        """What the judge says, or the writer where there is none; as `write`."""
        who = self.judge or self.writer
        return self.budget.ask(self.kept, who, chats, parallel=self.parallel)

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Count what gives no row."""
        self.left_out[reason] += count


@dataclass(frozen=True, slots=True)
class Turn:
    """What some items gave.

    Attributes:
        begun: of the items, those that the budget allowed to begin with.
    """

    begun: int
    rows: list[Row]


class Strategy(Protocol[Takes]):
    """One way to make rows of items of one kind.

    Attributes:
        name: of the way; every row carries it.
        reasons: why something can be left out.
        at_once: items of a turn. What a row is may depend on it, so it is no matter of speed.
    """

    @property
    def name(self) -> str: ...

    @property
    def reasons(self) -> tuple[str, ...]: ...

    @property
    def at_once(self) -> int: ...

    def turn(self, items: Sequence[Takes], asking: Asking) -> Turn:
        """The rows of some items; those that the budget leaves unasked are not begun.

        Raises: as `Asking.write`.
        """
        ...


@dataclass(slots=True)
class Made:
    """What came of it.

    Attributes:
        items: how many were begun.
        found: how many rows there were, with those beyond `most`, which were paid for too.
        tokens, cost: of the budget, answers that were kept from before included.
        left_out: what gave no row, by the reason.
        spent: whether the budget ended it.
        idle: whether it ended because nothing new came.
    """

    rows: list[Row] = field(default_factory=list)
    items: int = 0
    found: int = 0
    tokens: int = 0
    cost: Decimal = Decimal(0)
    left_out: dict[str, int] = field(default_factory=dict)
    spent: bool = False
    idle: bool = False


def make(
    strategy: Strategy[Item],
    items: Iterable[Item],
    asking: Asking,
    *,
    endless: bool = False,
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Make rows of items, in their order.

    Args:
        endless: there are always more items; it ends with `most`, or where nothing new comes.
        most: end with so many rows.
        progress: called with items begun and rows found after each turn.

    Raises:
        Refused, Unavailable: an endpoint refuses, or does not answer; what it said is kept.
    """
    asking.left_out = dict.fromkeys(strategy.reasons, 0)
    made, left, idle = Made(left_out=asking.left_out), iter(items), 0
    while not asking.budget.spent and (some := list(islice(left, strategy.at_once))):
        turn = strategy.turn(some, asking)
        made.items += turn.begun
        made.rows += turn.rows
        idle = 0 if turn.rows else idle + 1
        if progress:
            progress(made.items, len(made.rows))
        if most is not None and len(made.rows) >= most:
            break
        if endless and idle == IDLE and not asking.budget.spent:
            made.idle = True
            break
    made.found = len(made.rows)
    del made.rows[most if most is not None else made.found :]
    made.tokens, made.cost = asking.budget.tokens, asking.budget.cost
    made.spent = asking.budget.spent
    return made


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the whole will come to, if it goes on as it began."""

    rows: int
    tokens: int
    cost: Decimal


def estimate(made: Made, items: int | None, wanted: int | None) -> Estimate | None:
    """What all items will give and cost, by what those that were begun did.

    Args:
        items: how many there are; None where there is no end of them.
        wanted: with so many rows it ends.

    Returns:
        None where nothing was begun, or nothing came of items that have no end.
    """
    if not made.items:
        return None
    share = None if items is None else items / made.items
    if wanted is not None and made.found and (share is None or made.found * share > wanted):
        share = wanted / made.found
    if share is None:
        return None
    cost = (made.cost * Decimal(share)).quantize(Decimal("0.000001"))
    return Estimate(round(made.found * share), round(made.tokens * share), cost)
