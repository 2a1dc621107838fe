"""The end of what a model says, where it was told to put its verdict."""

from __future__ import annotations

_MOST = 2_000


def ending_of(text: str) -> str:
    """The last lines of a text without blank ones, 2,000 characters at most.

    Patterns that look for a line are quadratic in what stands before it; whoever wrote the text may
    have written a hundred thousand line feeds.
    """
    end = "\n".join(line for line in text.split("\n") if line.strip())
    if len(end) <= _MOST:
        return end
    cut = end[-_MOST:]
    return cut[cut.find("\n") + 1 :]
