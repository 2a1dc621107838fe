"""A file's lines for people to read: a page at a time, each as long as somebody reads.

Bytes are read from the beginning for every page, so a page far into a file costs what stands before
it; after `MOST_READ` bytes there is no further page. Nothing read here is proved to be the file's
digest, which takes all of it: whoever needs that takes the whole content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adapterworks.gateway.files.lines import Lines

MOST_READ = 64 * 1024 * 1024
MOST_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One line.

    Attributes:
        line: its number, from 1.
        text: its first `MOST_SHOWN` characters.
        cut: whether it goes on.
    """

    line: int
    text: str
    cut: bool


def shown(chunks: Iterable[bytes], *, after: int, limit: int) -> tuple[list[ShownLine], bool]:
    """The lines after one that are not blank, and whether there are more to be shown."""
    found: list[ShownLine] = []
    for number, line in _lines(chunks):
        if number <= after or (line is not None and not line.strip()):
            continue
        if len(found) == limit:
            return found, True
        # A character has at most four bytes: what is beyond these is not shown anyhow.
        text = "" if line is None else line[: 4 * MOST_SHOWN + 4].decode("utf-8", "replace")
        text = text.removesuffix("\r")
        found.append(ShownLine(number, text[:MOST_SHOWN], line is None or len(text) > MOST_SHOWN))
    return found, False


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    lines, read = Lines(), 0
    for chunk in chunks:
        read += len(chunk)
        yield from lines.feed(chunk)
        if read >= MOST_READ:
            return
    yield from lines.close()
