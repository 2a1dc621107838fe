"""What a sweep tries: keys of a manifest, each with its choices or a range.

method.rank=8,16,32              choices
train.learning_rate=1e-5..1e-3   a range; of numbers above 0 that differ by 10 times or more it
                                 is drawn by their logarithm
train.epochs=1..4                a range of whole numbers, if both ends are written so
method.targets=["q"],["q","v"]   choices that are lists: a comma within one parts nothing
data.train=../a.jsonl,../b.jsonl choices that are texts, with dots of their own
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapterworks.manifests.errors import InvalidInput

_END = r"[-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|inf|nan)"
_RANGE = re.compile(rf"\s*{_END}\s*\.\.\s*{_END}\s*", re.IGNORECASE)
_KEY = re.compile(r"[a-z_]+(\.[a-z_0-9]+)+")
_MOST_CHOICES = 100
_MOST_POINTS = 10_000


class Draw(Protocol):
    """What an optuna trial is to a dimension."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values, as they are written."""

    key: str
    values: tuple[str, ...]

    def draw(self, trial: Draw) -> str:
        """A value, as TOML."""
        return trial.suggest_categorical(self.key, self.values)


@dataclass(frozen=True, slots=True)
class Span:
    """A number from `low` to `high`, both included."""

    key: str
    low: float
    high: float
    whole: bool

    @property
    def log(self) -> bool:
        """Whether it is drawn by its logarithm."""
        return self.low > 0 and self.high / self.low >= 10

    def draw(self, trial: Draw) -> str:
        """A value, as TOML, of three digits."""
        if self.whole:
            low, high = int(self.low), int(self.high)
            return str(trial.suggest_int(self.key, low, high, log=self.log))
        value = trial.suggest_float(self.key, self.low, self.high, log=self.log)
        return repr(min(max(float(f"{value:.3g}"), self.low), self.high))


Dimension = Choices | Span


def parse_dimension(text: str) -> Dimension:
    """A dimension as it is written.

    Raises:
        InvalidInput: it is none, with what it should be.
    """
    key, separator, values = (part.strip() for part in text.partition("="))
    if not separator or not _KEY.fullmatch(key):
        raise _not_one(text)
    if _RANGE.fullmatch(values):
        return _span(text, key, values)
    found = tuple(value.strip() for value in _apart(values))
    if len(found) < 2 or not all(found) or len(found) > _MOST_CHOICES:
        raise _not_one(text)
    if len(set(found)) < len(found):
        raise InvalidInput(f"`{text}` has a value twice", hint="leave one out")
    return Choices(key, found)


def parse_space(texts: Sequence[str]) -> tuple[Dimension, ...]:
    """All dimensions of a sweep.

    Raises:
        InvalidInput: there is none, one is malformed, or a key is in two.
    """
    found = tuple(parse_dimension(text) for text in texts)
    keys = [dimension.key for dimension in found]
    if not keys:
        raise InvalidInput("nothing is to be varied", hint="as: --over method.rank=8,16,32")
    if len(set(keys)) < len(keys):
        raise InvalidInput("a key is varied twice", hint="put its values into one `--over`")
    return found


def size(space: Sequence[Dimension]) -> float:
    """How many points a space has; infinite with a range of real numbers."""
    count = 1.0
    for one in space:
        if isinstance(one, Choices):
            count *= len(one.values)
        else:
            count *= one.high - one.low + 1 if one.whole else math.inf
    return count


def points(space: Sequence[Dimension]) -> list[dict[str, str]]:
    """All settings of a space that is small; none of a larger one, where few are drawn twice."""
    if size(space) > _MOST_POINTS:
        return []
    values = [
        one.values
        if isinstance(one, Choices)
        else [str(number) for number in range(int(one.low), int(one.high) + 1)]
        for one in space
    ]
    keys = [one.key for one in space]
    return [dict(zip(keys, found, strict=True)) for found in itertools.product(*values)]


def of_trial(space: Sequence[Dimension], settings: Mapping[str, str]) -> dict[str, str | int]:
    """Settings as a trial's parameters."""
    return {
        one.key: settings[one.key] if isinstance(one, Choices) else int(settings[one.key])
        for one in space
    }


def _apart(values: str) -> list[str]:
    """What stands between commas that are in no list, table or text of TOML."""
    found, depth, quote = [""], 0, ""
    for letter in values:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth and not quote:
            found.append("")
        else:
            found[-1] += letter
    return found


def _span(text: str, key: str, values: str) -> Span:
    low, high = (end.strip() for end in values.split("..", 1))
    try:
        first, last = float(low), float(high)
    except ValueError:
        raise _not_one(text) from None
    if not (math.isfinite(first) and math.isfinite(last) and first < last):
        raise InvalidInput(f"`{text}` is no range: its first end is not below its last")
    whole = all(re.fullmatch(r"[+-]?\d+", end) for end in (low, high))
    return Span(key, first, last, whole)


def _not_one(text: str) -> InvalidInput:
    return InvalidInput(
        f"`{text}` is nothing to vary",
        hint="as `method.rank=8,16,32`, or `train.learning_rate=1e-5..1e-3`",
    )
