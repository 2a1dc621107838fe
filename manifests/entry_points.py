"""What installed distributions add to what a manifest can name.

A distribution adds to a table by an entry point in the group `adapterworks.KIND`:

    [project.entry-points."adapterworks.metrics"]
    f1_of_codes = "acme.metrics:F1_OF_CODES"

Invariant: names are read from metadata alone, no code is imported; metadata that cannot be read
hides what its own distribution adds, and nothing else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from adapterworks.manifests.builtin import KINDS, Kind

# As TOML writes a key without quotes.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an entry comes from: a distribution, a file of the user's, or adapterworks itself.

    Attributes:
        target: `module:attribute`, or `file:attribute` as the manifest has it.
        file: the name of the user's file.
    """

    target: str
    distribution: str | None = None
    version: str | None = None
    file: str | None = None

    @property
    def built_in(self) -> bool:
        """Whether it comes with adapterworks."""
        return self.distribution is None and self.file is None

    def __str__(self) -> str:
        if self.file is not None:
            return self.file
        return "built in" if self.distribution is None else f"{self.distribution} {self.version}"


def group(kind: Kind) -> str:
    """The entry points' group of a kind."""
    return f"adapterworks.{kind}"


@cache
def installed(kind: Kind) -> Mapping[str, tuple[Origin, ...]]:
    """Name → where it comes from, of every installed distribution that claims it; one that is found
    twice claims once."""
    claims: dict[str, dict[str, Origin]] = {}
    for point in _entry_points():
        if point.group != group(kind):
            continue
        if point.dist is None or not _NAME.fullmatch(point.name):
            continue
        distribution, version = _named(point.dist)
        claim = Origin(_target(point), distribution or "a distribution without a name", version)
        # Two without a name are not one.
        claims.setdefault(point.name, {}).setdefault(distribution or str(id(point)), claim)
    return {name: tuple(found.values()) for name, found in claims.items()}


@cache
def _entry_points() -> tuple[metadata.EntryPoint, ...]:
    """Ours: reading every distribution's metadata takes a while and is done once."""
    groups = [group(kind) for kind in KINDS]
    try:
        found = metadata.entry_points()
    except Exception:  # one distribution's metadata cannot be read
        return tuple(point for point in _one_by_one() if point.group in groups)
    return tuple(point for name in groups for point in found.select(group=name))


def _one_by_one() -> Iterator[metadata.EntryPoint]:
    """The entry points of every distribution whose own can be read; of a name, the first counts."""
    seen: set[str] = set()
    for distribution in metadata.distributions():
        name, _ = _named(distribution)
        if name is not None and name in seen:
            continue
        seen.add(name or "")
        with contextlib.suppress(Exception):
            yield from distribution.entry_points


def _named(distribution: metadata.Distribution) -> tuple[str | None, str]:
    """Name and version, as far as a distribution's metadata can be read and has them."""
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    except Exception:  # whatever stands there
        return None, "?"
    return name or None, version or "?"


def _target(point: metadata.EntryPoint) -> str:
    """`module:attribute` without the spaces and extras that an entry point may have."""
    try:
        return f"{point.module}:{point.attr}"
    except AttributeError:  # it is no entry point: loading it will say so
        return point.value


def forget() -> None:
    """Look for installed distributions anew the next time."""
    _entry_points.cache_clear()
    installed.cache_clear()
