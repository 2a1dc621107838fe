"""JSON from strangers: bounded in size and depth, no duplicate keys, no NaN, no giant integers.

Invariant: the bounds are checked before the standard parser sees the text, so nesting cannot
exhaust the stack and digits cannot exhaust the processor; and every text, however broken, takes
time in proportion to its length.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from adapterworks.registry.imports.errors import ImportRefused, show

MAX_INTEGER_DIGITS = 19  # every value of a 64-bit integer
# One that is never closed runs to the end of the text. A pattern that wanted the closing quote
# would try again at each quote inside it, which is quadratic.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def parse(data: bytes, *, file: str, max_depth: int) -> Any:
    """Parse `data`, which was read with a bound on its size.

    Args:
        file: the name used in errors.
        max_depth: how many brackets may be open at once.

    Raises:
        ImportRefused: not UTF-8, not JSON, too deep, a key twice, a number out of range.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ImportRefused(file, f"not UTF-8 at byte {error.start}") from error
    _check_depth(data, file, max_depth)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in items:
            if key in table:
                raise ImportRefused(file, f"the key `{show(key)}` appears twice")
            table[key] = value
        return table

    def integer(digits: str) -> int:
        if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
            raise ImportRefused(file, f"an integer of {len(digits)} digits")
        return int(digits)

    def constant(name: str) -> NoReturn:
        raise ImportRefused(file, f"`{name}` is not a JSON value")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise ImportRefused(
            file, f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error


def _check_depth(data: bytes, file: str, max_depth: int) -> None:
    depth = 0
    for match in _BRACKETS.finditer(_STRINGS.sub(b"", data)):
        depth += 1 if match.group() in b"[{" else -1
        if depth > max_depth:
            raise ImportRefused(file, f"nested deeper than {max_depth} levels")
