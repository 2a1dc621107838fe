"""Bytes as they arrive → lines, each within a bound, so that memory is that of one line."""

from __future__ import annotations

from collections.abc import Iterator

MOST_LINE = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Lines:
    """Cuts a stream of bytes into lines.

    Args:
        longest: bytes; of a longer line only its being too long is given.
    """

    def __init__(self, longest: int = MOST_LINE) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._skipping = False
        self.number = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that are complete now, with their numbers from 1; None is a line too long."""
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:
            self.number += 1
            if self._skipping:
                self._skipping = False
                yield self.number, None
            elif len(self._rest) + end - begin > self._longest:
                self._rest.clear()
                yield self.number, None
            elif self._rest:
                self._rest += data[begin:end]
                yield self.number, bytes(self._rest)
                self._rest.clear()
            else:
                yield self.number, data[begin:end]
            begin = end + 1
        if not self._skipping:
            self._rest += memoryview(data)[begin:]
            if len(self._rest) > self._longest:
                self._skipping = True
                self._rest.clear()

    def close(self) -> Iterator[tuple[int, bytes | None]]:
        """The last line, if it has no end."""
        if self._rest or self._skipping:
            self.number += 1
            yield self.number, None if self._skipping else bytes(self._rest)


def has_mark(line: bytes) -> bool:
    """Whether a line begins with a byte order mark."""
    return line.startswith(_BOM)
