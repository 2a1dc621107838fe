"""What becomes of another program's configuration: a manifest, and a note for each of its keys.

Invariant: no key is dropped in silence. A key that a program has and we do not know is refused like
one that we cannot honour; a default of the program that differs from ours is written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

_TABLES = (
    *("adapter", "start", "base", "method", "data", "objective"),
    *("train", "evaluate", "publish"),
)
Outcome = Literal["mapped", "differs", "no effect", "refused"]
# What switches most keys off: with it the program does as if it were not there.
OFF: tuple[Any, ...] = (False, 0, "", [], {})


@dataclass(frozen=True, slots=True)
class Note:
    """What became of one key.

    Attributes:
        key: as the program spells it; empty for a default that was written out.
        to: the manifest's keys that it became.
        why: of everything but what is plainly mapped.
    """

    key: str
    value: Any
    outcome: Outcome
    to: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A manifest's tables and the notes on how they came about."""

    manifest: dict[str, Any]
    notes: tuple[Note, ...]

    @property
    def refused(self) -> tuple[Note, ...]:
        """The keys that stand in the way."""
        return tuple(note for note in self.notes if note.outcome == "refused")


@dataclass(frozen=True, slots=True)
class To:
    """A key that is one of ours under another name.

    Attributes:
        path: ours, with dots.
        reads: brings a value to ours; raises ValueError with the reason when it cannot.
        off: values that switch it off.
    """

    path: str
    reads: Callable[[Any], Any] = lambda value: value
    off: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Idle:
    """A key without effect here."""

    why: str


@dataclass(frozen=True, slots=True)
class Not:
    """A key that changes what is trained in a way we do not have.

    Attributes:
        harmless: the values that change nothing, and no others; None, which is the program's
            default, never does.
    """

    why: str
    harmless: tuple[Any, ...] = OFF


Rule = To | Idle | Not


@dataclass
class Draft:
    """A manifest in the making.

    Args:
        given: the program's configuration.
    """

    given: Mapping[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the configuration; a key that is null is not there."""
        value = self.given.get(key)
        return default if value is None else value

    def on(self, key: str, *, default: bool = False) -> bool:
        """A switch; YAML's spellings of one are taken, other values are faults."""
        value = self.get(key, default)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            self.refuse(key, "it is neither true nor false")
            return default
        return value

    def number(self, key: str, default: float | None = None) -> float | None:
        """A number; `1e-4` is a text in YAML 1.1, and a number to every trainer."""
        given = self.get(key, default)
        if isinstance(given, str):
            try:
                return float(given)
            except ValueError:
                pass
        elif given is None or (isinstance(given, int | float) and not isinstance(given, bool)):
            return given
        self.refuse(key, "it is no number")
        return default

    def put(self, path: str, value: Any) -> None:
        """Set a key of the manifest."""
        *tables, last = path.split(".")
        table = self.manifest
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = value

    def map(self, key: str, path: str, value: Any, *, why: str = "", differs: bool = False) -> None:
        """Set a key of the manifest from one of the program's, or from its default."""
        self.put(path, value)
        self.note(key, "differs" if differs else "mapped", path, why=why)

    def note(self, key: str, outcome: Outcome, *to: str, why: str = "") -> None:
        """Say what became of a key; defaults that were written out are notes of no key."""
        known = key in self.given
        self.notes.append(Note(key, self.given.get(key) if known else None, outcome, to, why))

    def refuse(self, key: str, why: str) -> None:
        """Say that a key stands in the way."""
        self.note(key, "refused", why=why)

    def apply(self, rules: Mapping[str, Rule]) -> None:
        """Treat the keys that stand for themselves."""
        for key, value in self.given.items():
            rule = rules.get(key)
            if rule is None or value is None:
                continue
            match rule:
                case To() if value in rule.off:
                    self.note(key, "no effect", why="it is off")
                case To():
                    try:
                        self.map(key, rule.path, rule.reads(value))
                    except ValueError as error:
                        self.refuse(key, str(error))
                case Idle():
                    self.note(key, "no effect", why=rule.why)
                case Not():
                    harmless = any(_same(value, other) for other in rule.harmless)
                    self.note(key, "no effect" if harmless else "refused", why=rule.why)

    def finish(self, program: str, known: Iterable[str]) -> Conversion:
        """Note what nobody has treated: what the program knows and we do not need, and the rest."""
        noted = {note.key for note in self.notes}
        known = set(known)
        for key, value in self.given.items():
            if key in noted:
                continue
            if value is None:
                self.note(key, "no effect", why="it is null")
            elif key in known:
                self.note(key, "no effect", why="another key decides")
            else:
                self.refuse(key, f"it is no key of {program} that is known here")
        ordered = {table: self.manifest[table] for table in _TABLES if table in self.manifest}
        return Conversion(ordered, tuple(self.notes))


def _same(value: Any, other: Any) -> bool:
    """Whether a program reads both as one; a switch is no number, and `1e-8` may be a text."""
    if isinstance(value, str) and not isinstance(other, str):
        value = _read(value)
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _read(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def switch(value: Any) -> bool:
    """True or false, as YAML's spelling too: the text `false` is not true."""
    read = _read(value) if isinstance(value, str) else value
    if not isinstance(read, bool):
        raise ValueError("it is neither true nor false")
    return read


def real(value: Any) -> float:
    """A number; `1e-4` is a text in YAML 1.1."""
    read = _read(value) if isinstance(value, str) else value
    if isinstance(read, bool) or not isinstance(read, int | float) or not isfinite(read):
        raise ValueError("it is no number")
    return float(read)


def positive(value: Any) -> int:
    """A whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("it is no whole number above 0")
    return value


def names(value: Any) -> list[str]:
    """A list of names, or their text with commas."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ValueError("it is no list of names")
    return [item.strip() for item in listed if item.strip()]
