"""Where each key of a TOML text stands: key path → line.

`tomllib` gives values but no positions. This scanner reads the same text for positions only and
leaves all judgement to `tomllib`: it is correct for every text that `tomllib` accepts.

Invariant: every key path of `tomllib.loads(text)` has a line, and that line holds the key's text.
Tables that are only implied (`a` in `[a.b]`) have the line that implies them first; an element of
an array has the line on which it starts.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
# A multi-line string may end in one or two quotes of its own: the closing three are the last ones.
_MULTI_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})', re.DOTALL)
_MULTI_LITERAL = re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> dict[Path, int]:
    """The 1-based line of every key path and array element of a valid TOML text."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.counted_to = 0
        self.line = 1
        self.elements: dict[Path, int] = {}  # array of tables → index of its last element

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_SPACE) < len(self.text):
            if self._take("[["):
                table = self._table(self._key(), is_element=True)
                self._take("]]")
            elif self._take("["):
                table = self._table(self._key(), is_element=False)
                self._take("]")
            else:
                self._pair(table)
        return self.lines

    def _table(self, key: tuple[str, ...], *, is_element: bool) -> Path:
        """The path of a header, through the last elements of the arrays of tables it crosses."""
        path: Path = ()
        for position, part in enumerate(key):
            path = (*path, part)
            self._mark(path)
            if is_element and position == len(key) - 1:
                self.elements[path] = self.elements.get(path, -1) + 1
            if path in self.elements:
                path = (*path, self.elements[path])
                self._mark(path)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for part in self._key():
            path = (*path, part)
            self._mark(path)
        self._skip(_BLANK)
        self._take("=")
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip(_BLANK)
            if match := _BARE.match(self.text, self.at):
                parts.append(match[0])
            elif match := (_BASIC.match(self.text, self.at) or _LITERAL.match(self.text, self.at)):
                parts.append(tomllib.loads(f"key = {match[0]}")["key"])
            else:
                raise ValueError(f"no key at offset {self.at}: the text is not valid TOML")
            self.at = match.end()
            self._skip(_BLANK)
            if not self._take("."):
                return tuple(parts)

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        else:
            for pattern in (_MULTI_BASIC, _MULTI_LITERAL, _BASIC, _LITERAL, _SCALAR):
                if match := pattern.match(self.text, self.at):
                    self.at = match.end()
                    return
            raise ValueError(f"no value at offset {self.at}: the text is not valid TOML")

    def _array(self, path: Path) -> None:
        index = 0
        while self._skip(_SPACE) < len(self.text) and not self._take("]"):
            self._mark((*path, index))
            self._value((*path, index))
            index += 1
            self._skip(_SPACE)
            self._take(",")

    def _inline_table(self, path: Path) -> None:
        while self._skip(_SPACE) < len(self.text) and not self._take("}"):
            self._pair(path)
            self._skip(_SPACE)
            self._take(",")

    def _mark(self, path: Path) -> None:
        self.line += self.text.count("\n", self.counted_to, self.at)
        self.counted_to = self.at
        self.lines.setdefault(path, self.line)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _take(self, token: str) -> bool:
        found = self.text.startswith(token, self.at)
        self.at += len(token) if found else 0
        return found
