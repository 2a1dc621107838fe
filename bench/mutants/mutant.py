"""What a mutant is: one file of the tree with one piece of text replaced by another."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class TableFault(Exception):
    """An entry of a table that no longer says anything about the code."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement in one file, by byte offsets in its source."""

    file: str
    start: int
    end: int
    text: str

    def apply(self, source: bytes) -> bytes:
        """The source with the replacement."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[int, int]:
        """First and last line of what is replaced, from 1."""
        first = source.count(b"\n", 0, self.start) + 1
        return first, first + source.count(b"\n", self.start, self.end)

    def shown(self, source: bytes) -> tuple[str, str]:
        """The lines before and after, each on one line without the space around them."""
        begin = source.rfind(b"\n", 0, self.start) + 1
        stop = source.find(b"\n", self.end)
        stop = len(source) if stop < 0 else stop
        after = source[begin : self.start] + self.text.encode() + source[self.end : stop]
        return _flat(source[begin:stop]), _flat(after)


@dataclass(frozen=True, slots=True)
class Named:
    """A defect that somebody thought of.

    Attributes:
        name: unique, in words joined by hyphens.
        before: text that must be found exactly once in the file.
        after: what stands there instead.
        notices: ids of the tests that should fail, as pytest takes them.
        why: what goes wrong in the world if nobody notices.
        source: the review that planted it first, if one did.
        quick: whether its tests take under two seconds, so that `make test` may draw it.
    """

    name: str
    file: str
    before: str
    after: str
    notices: tuple[str, ...]
    why: str
    source: str = ""
    quick: bool = True

    def edit(self, root: Path = ROOT) -> Edit:
        """Where it is now.

        Raises:
            TableFault: the text is not there exactly once, or the result means the same or nothing.
        """
        path = root / self.file
        if not path.exists():
            raise TableFault(f"`{self.name}`: there is no `{self.file}`")
        source = path.read_bytes()
        text = self.before.encode()
        count = source.count(text)
        if count != 1:
            raise TableFault(f"`{self.name}`: `{self.file}` has its text {count} times, not once")
        start = source.index(text)
        edit = Edit(self.file, start, start + len(text), self.after)
        try:
            changed = ast.parse(edit.apply(source))
        except SyntaxError as error:
            raise TableFault(f"`{self.name}` does not parse: {error}") from error
        if _same(changed, _parsed(source)):
            raise TableFault(f"`{self.name}` changes nothing")
        for test in self.notices:
            if not (root / test.partition("::")[0]).exists():
                raise TableFault(f"`{self.name}`: there is no test file `{test}`")
        return edit


@lru_cache(maxsize=4)  # entries of one file stand together
def _parsed(source: bytes) -> ast.Module:
    return ast.parse(source)


def _same(one: object, other: object) -> bool:
    """Whether two trees mean the same, wherever they stand in their files: up to where they part,
    where `ast.dump` of both would write them out to the end."""
    if type(one) is not type(other):
        return False
    if isinstance(one, ast.AST):
        return all(
            _same(getattr(one, field, None), getattr(other, field, None)) for field in one._fields
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return repr(one) == repr(other)  # 0.0 is not -0.0


def _flat(text: bytes) -> str:
    return " ".join(text.decode().split())
