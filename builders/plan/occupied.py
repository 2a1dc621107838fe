"""A machine that has the memory for a training, but not now: who asks may wait for it.

Invariant: what can never fit is `Refused` (`fit.py`); this is only said where waiting can help.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.manifests.errors import Unavailable

USABLE = 0.9
"""Part of a machine's memory that a plan may fill."""


@dataclass(frozen=True, slots=True)
class Wait:
    """How somebody stands in the line of those who wait for memory.

    Attributes:
        since: when it began to wait, in seconds since the epoch.
        passed: builds that have begun before it meanwhile, and came after it.
        first: it has waited for so long that whoever came later waits for it.
    """

    since: float
    passed: int
    first: bool


class Occupied(Unavailable):
    """Others hold the memory that a training needs.

    Attributes:
        public: the message without who holds it, which is not for everybody to know, and without
            how much: as long as it is waited for, it says the same.
        needs: what is needed, as the beginning of a sentence.
        size: of it, in bytes of this machine's memory, or of each card's.
        wait: the place in line of whoever waits; None where nobody does.
    """

    public: str = ""
    needs: str = ""
    size: int = 0
    wait: Wait | None = None

    @classmethod
    def of(
        cls,
        needs: str,
        *,
        size: int,
        free: int,
        total: int,
        reserved: str = "",
        hint: str | None = None,
    ) -> Occupied:
        """The error with its numbers.

        Args:
            needs: what is needed, as the sentence's beginning.
            size: of it, in bytes of the machine, or of each card.
            free: bytes that a training may still take.
            total: bytes of the machine, or of each card.
            reserved: what of the rest is kept for builds that have begun, in words.
        """
        said = (
            f"{needs}, and of this machine's {gib(total)} now {gib(free)} are free and "
            f"{gib(total - free)} are held by others"
        )
        error = cls(f"{said}: {reserved}" if reserved else said, hint=hint)
        error.needs, error.size = needs, size
        error.public = f"{needs}, and others hold too much of this machine's {gib(total)}"
        return error


def gib(size: float) -> str:
    """A size as people read it."""
    return f"{size / 2**30:.2f} GiB"
