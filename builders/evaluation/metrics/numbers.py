"""The last number of a text, exactly, as people write numbers; pure.

Read are digits of any script, groups of thousands (`1,234.5`, `1'234`, or with a thin space), a
decimal point that may come first (`.5`), signs at the beginning of a word (`10-5` has none, `−5`
has one), powers (`1e5`, `6.02 × 10^23`, `2^10`) and fractions (`3/4`, `1 3/4`, `½`, LaTeX's). A
decimal comma is not: `3,5` is 3 and 5.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from adapterworks.builders.data.reasoning import as_spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.manifests.errors import InvalidInput

_MOST_POWER = 1000  # a larger exponent is no number that anybody compares
_MOST_DIGITS = 10_000  # of a power; the power of thousands of digits takes a minute
_SIGNS = str.maketrans("\u2212\u2013\ufe63\uff0d\uff0b\u066b\uff0e", "----+..")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_APART = "[,'\u2019\u2009\u202f\u066c]"
_WHOLE = rf"(?:[0-9]{{1,3}}(?:{_APART}[0-9]{{3}})+(?![0-9])|[0-9]+)"
_TIMES_TEN = r"\s*(?:×|x|\*|·|\\times|\\cdot)\s*10"


def _power_named(name: str) -> str:
    written = rf"(?:\^|\*\*)\s*\{{?\s*(?P<{name}>[-+]?[0-9]+)\s*\}}?"
    return rf"(?:{written}|(?P<{name}r>[⁺⁻]?[⁰¹²³⁴-⁹]+))"


_NUMBER = re.compile(
    rf"""
    (?P<sign>(?<![\w.)\]}}%])[-+](?=[$€£¥]?(?:\.?[0-9]|\\|[¼-¾⅐-⅞])))?[$€£¥]?
    (?:
      \\[dt]?frac\s*\{{\s*(?P<top>[0-9]+)\s*\}}\s*\{{\s*(?P<bottom>[0-9]+)\s*\}}
    | (?:(?P<units>[0-9]+)\ )?(?<![/.])(?P<over>[0-9]+)
        \ ?/\ ?(?P<under>[0-9]+)(?![0-9]|\.[0-9]|\ ?/)
    | (?P<one>[0-9]+)?\ ?(?P<vulgar>[¼-¾⅐-⅞])
    | (?P<plain>{_WHOLE}(?:\.[0-9]+)?|(?<![\w.])\.[0-9]+)
      (?: [eE](?P<e>[-+]?[0-9]+)(?![\w]) | {_TIMES_TEN}{_power_named("ten")}
        | {_power_named("to")} )?
    )
    """,
    re.VERBOSE,
)


def last_number(text: str) -> Fraction | None:
    """The last number of a text, exactly; None without one."""
    found = [*_NUMBER.finditer(_ascii(text))]
    try:
        return _value(found[-1]) if found else None
    except (ValueError, ZeroDivisionError):  # thousands of digits, written or as a power; 3/0
        return None


def _ascii(text: str) -> str:
    """Digits of any script, signs and points as ASCII has them."""
    if text.isascii():
        return text
    plain = text.translate(_SIGNS)
    return "".join(c if c.isascii() or (d := unicodedata.decimal(c, None)) is None else str(d)
                   for c in plain)  # fmt: skip


def _value(found: re.Match[str]) -> Fraction:
    part = found.groupdict()
    if part["top"]:
        value = Fraction(int(part["top"]), int(part["bottom"]))
    elif part["over"]:
        value = Fraction(int(part["over"]), int(part["under"]))
        if part["units"] and value < 1:  # `2 5/3` is 2, and then 5/3
            value += int(part["units"])
    elif part["vulgar"]:
        value = Fraction(unicodedata.numeric(part["vulgar"])).limit_denominator(10)
        value += int(part["one"] or 0)
    else:
        value = Fraction(re.sub(_APART, "", part["plain"]))
        if (power := part["e"] or _power(part, "ten")) is not None:
            value *= Fraction(10) ** _bounded(power)
        elif (power := _power(part, "to")) is not None:
            value **= _bounded(power, len(part["plain"]))
    return -value if part["sign"] == "-" else value


def _power(part: dict[str, str | None], name: str) -> str | None:
    raised = part[f"{name}r"]
    return part[name] or (raised.translate(_RAISED) if raised else None)


def _bounded(power: str, digits: int = 1) -> int:
    """The exponent of a number of some digits.

    Raises:
        ValueError: the power would be too long.
    """
    value = int(power)
    if abs(value) > _MOST_POWER or digits * abs(value) > _MOST_DIGITS:
        raise ValueError(power)
    return value


def _right(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    """An answer without a number is wrong."""
    scores = []
    for prediction, row in zip(predictions, rows, strict=True):
        given, wanted = last_number(prediction.text), last_number(row.answer)
        scores.append(float(given is not None and given == wanted))
    return scores


def _require(rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows, 1):
        if last_number(as_spoken(row).answer) is None:
            raise InvalidInput(
                f"row {row.number or number} has no number in its answer, so that no answer can "
                f"have the same: {row.excerpt(80)}",
                hint="`exact_number` compares the last numbers of answer and reference; leave it "
                "out, or the rows without a number",
            )


EXACT_NUMBER = replace(
    mean_metric("exact_number", "The answer's last number is the reference's last number", _right),
    require=_require,
)
