"""Patterns of adapter names: what a tenant may use, and what it lets us keep."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

BASE_PREFIX = "base:"


def opens(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns is for adapter `name`, or for base model `base:NAME`.

    A base is meant only by a pattern that says `base:`, or by `*` alone.
    """
    is_base = name.startswith(BASE_PREFIX)
    return any(
        pattern == "*"
        or (pattern.startswith(BASE_PREFIX) == is_base and fnmatchcase(name, pattern))
        for pattern in patterns
    )
