"""What is wrong with a file's lines: every line, kept as ranges, said all at once.

Memory is that of the different messages and of the gaps between lines, not of the lines: a file of
a million lines that are all wrong in the same way is one message with one range. Gaps are bounded
too: where there are more, what follows is not looked at, and the answer says so.
"""

from __future__ import annotations

from adapterworks.gateway.request.errors import InvalidLines

# What the message shows; `faults` in the error's body has all.
_SHOWN_FAULTS, _SHOWN_RANGES = 20, 20
# Different messages that are kept; texts of the file's own never get into one, so that these few
# are what can go wrong at all, times the places in a row.
_MOST_MESSAGES = 2000
# Ranges of all messages together: 30 MB, and two of them in the answer.
MOST_RANGES = 200_000
_BEYOND = "has a fault of yet another kind"


class Faults:
    """Collects faults, line by line, lines ascending."""

    def __init__(self) -> None:
        self._found: dict[str, list[list[int]]] = {}
        self.lines = 0
        self._ranges = 0
        self._last = 0

    def add(self, line: int, message: str) -> None:
        """A line is wrong in this way; one line may be in several."""
        if line != self._last:
            self.lines, self._last = self.lines + 1, line
        if message not in self._found and len(self._found) >= _MOST_MESSAGES:
            message = _BEYOND
        ranges = self._found.setdefault(message, [])
        if ranges and ranges[-1][1] >= line - 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
            self._ranges += 1

    @property
    def full(self) -> bool:
        """Whether there are as many as are kept: the rest need not be looked at."""
        return self._ranges >= MOST_RANGES

    def summary(self) -> str:
        """What there is, by lines, a fault a sentence; empty if there is none."""
        return "; ".join(_shown(*item) for item in list(self._found.items())[:_SHOWN_FAULTS])

    def raise_if_any(self, rows: int) -> None:
        """Refuse the file if there was one.

        Args:
            rows: lines that were looked at.

        Raises:
            InvalidLines: with all of them.
        """
        if not self._found:
            return
        listed: list[dict[str, object]] = [
            {
                "message": message,
                "lines": _text(ranges),
                "count": sum(last - first + 1 for first, last in ranges),
            }
            for message, ranges in self._found.items()
        ]
        beyond = "; what follows was not looked at" if self.full else ""
        head = f"{self.lines} of {rows} lines cannot be used{beyond}"
        shown = [_shown(*item) for item in list(self._found.items())[:_SHOWN_FAULTS]]
        if len(listed) > _SHOWN_FAULTS:
            shown.append(f"and {len(listed) - _SHOWN_FAULTS} more kinds of fault")
        raise InvalidLines(
            "\n".join([head, *shown]),
            listed=listed,
            hint="mend these lines and send the file again",
        )


def _shown(message: str, ranges: list[list[int]]) -> str:
    several = len(ranges) > 1 or ranges[0][0] != ranges[0][1]
    more = len(ranges) - _SHOWN_RANGES
    beyond = f" and {more} more places" if more > 0 else ""
    return f"line{'s' if several else ''} {_text(ranges[:_SHOWN_RANGES])}{beyond}: {message}"


def _text(ranges: list[list[int]]) -> str:
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
