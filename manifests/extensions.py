"""What can be named in a manifest, ours and that of installed distributions, found by name.

A distribution adds to a table by an entry point in the group `adapterworks.KIND`:

    [project.entry-points."adapterworks.metrics"]
    f1_of_codes = "acme.metrics:F1_OF_CODES"

A manifest's author names code of their own by its file, where the key allows it (`user_code.py`).

Invariant: names are read from metadata; code is imported when its name is asked for, so that a
broken distribution breaks only what names it. A name means one thing: two that claim it are a
fault that names both, and nobody can take the name of something built in. Nothing is ever loaded
from what was pulled or imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from adapterworks.manifests.builtin import BUILTIN, GRADED, GRADING, KINDS, MADE_BY, TYPES, Kind
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import GraderMetric
from adapterworks.manifests.user_code import (
    UserCode,
    load_user_code,
    names_a_file,
    refusal,
)

T = TypeVar("T")
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


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """One line of a listing; `value` is None where `fault` says why it cannot be had."""

    name: str
    origin: Origin
    value: T | None
    fault: str | None = None


def group(kind: Kind) -> str:
    """The entry points' group of a kind."""
    return f"adapterworks.{kind}"


def names(kind: Kind) -> tuple[str, ...]:
    """All names of a kind: built-in ones first, then those of installed distributions."""
    return tuple(BUILTIN[kind]) + tuple(sorted(_installed(kind).keys() - BUILTIN[kind].keys()))


def origin(kind: Kind, name: str) -> Origin:
    """Where `name` comes from.

    Raises:
        InvalidInput: there is no such name, or more than one claims it.
    """
    if isinstance(name, GraderMetric):
        return Origin(GRADED)
    if names_a_file(name):
        return Origin(str(name), file=Path(name.rpartition(":")[0]).name)
    claims = _installed(kind).get(name, ())
    ours = BUILTIN[kind].get(name)
    if len(claims) + (ours is not None) > 1:
        who = ["adapterworks"] * (ours is not None) + sorted(f"`{claim}`" for claim in claims)
        raise InvalidInput(
            f"the {singular(kind)} `{name}` is defined more than once: by {' and '.join(who)}",
            hint=f"uninstall one, or rename its entry point in the group `{group(kind)}`",
        )
    if ours is not None:
        return Origin(ours)
    if claims:
        return claims[0]
    raise InvalidInput(
        f"there is no {singular(kind)} `{name}`",
        hint=f"known: {', '.join(names(kind))} (`adapters {kind.replace('_', '-')}`)",
    )


def load(kind: Kind, name: str) -> Any:
    """The object behind a name.

    Raises:
        InvalidInput: there is no such name, its code cannot be imported, or is no such thing.
        Refused: it is code in a file, and the manifest that names it is a release's.
    """
    found = origin(kind, name)
    if found.file is not None:
        return _made(kind, name, load_user_code(name))
    module, _, attribute = found.target.partition(":")
    if isinstance(name, GraderMetric):
        return _attribute(importlib.import_module(module), attribute)(name)
    if found.distribution is None:
        return _made(kind, name, _attribute(importlib.import_module(module), attribute))
    try:
        value = _attribute(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises
        raise InvalidInput(
            f"the {singular(kind)} `{name}` of `{found}` cannot be loaded: "
            f"{type(error).__name__}: {error}",
            hint=f"mend or uninstall `{found.distribution}`",
        ) from error
    value = _made(kind, name, value)
    module, _, attribute = TYPES[kind].partition(":")
    _require_type(kind, name, value, getattr(importlib.import_module(module), attribute))
    return value


def _require_type(kind: Kind, name: str, value: Any, type_: type[Any]) -> None:
    if not isinstance(value, type_):
        raise InvalidInput(
            f"the {singular(kind)} `{name}` of `{origin(kind, name)}` is a "
            f"{type(value).__name__}, not a `{type_.__name__}`",
            hint=f"`{origin(kind, name).target}` must be an instance of "
            f"`{type_.__module__}.{type_.__name__}`",
        )


def _made(kind: Kind, name: str, value: Any) -> Any:
    """The entry that a plain object stands for (a function, say), where its kind has such."""
    if kind not in MADE_BY:
        return value
    module, _, attribute = MADE_BY[kind].partition(":")
    return getattr(importlib.import_module(module), attribute)(name, value)


def source_file(kind: Kind, name: str) -> Path | None:
    """The file of the module that defines `name`; None for one without (built into Python)."""
    if isinstance(name, UserCode):
        return name.path
    found = Origin(GRADING) if isinstance(name, GraderMetric) else origin(kind, name)
    try:  # the packages above a module are imported for that
        spec = importlib.util.find_spec(found.target.partition(":")[0])
    except (Exception, SystemExit) as error:  # whatever a stranger's package raises
        raise InvalidInput(
            f"the {singular(kind)} `{name}` of `{found}` cannot be found: "
            f"{type(error).__name__}: {error}",
            hint=f"mend or uninstall `{found.distribution}`",
        ) from error
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def source_digest(kind: Kind, name: str) -> str:
    """`sha256:…` of the module file that defines `name`: what an evaluation by it depends on.

    Raises:
        InvalidInput: there is no such name, or no file behind it.
        Refused: it is code in a file, and the manifest that names it is a release's.
    """
    if names_a_file(name):
        if not isinstance(name, UserCode):
            raise refusal(name)
        return name.digest
    path = source_file(kind, name)
    if path is None:
        raise InvalidInput(f"the {singular(kind)} `{name}` has no source file")
    return digest_file(path)


def singular(kind: Kind) -> str:
    """The kind as a word for messages."""
    return kind.removesuffix("s").replace("_", " ")


def _attribute(module: Any, path: str) -> Any:
    value = module
    for part in path.split("."):
        value = getattr(value, part)
    return value


@cache
def _installed(kind: Kind) -> Mapping[str, tuple[Origin, ...]]:
    """Name → claims of installed distributions; the same distribution found twice claims once."""
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
    _installed.cache_clear()


class Table(Mapping[str, T]):
    """All entries of a kind as a mapping from name to object, each loaded when it is asked for.

    Args:
        kind: of what.
        type_: what every entry must be.
    """

    def __init__(self, kind: Kind, type_: type[T]) -> None:
        self.kind, self._type = kind, type_

    def __getitem__(self, name: str) -> T:
        """The entry of this name.

        Raises:
            KeyError: there is none (`get` asks without raising).
            InvalidInput: it cannot be loaded, or is not what the table holds.
        """
        if name not in self and not names_a_file(name):
            raise KeyError(name)
        return self.named(name)

    def named(self, name: str) -> T:
        """The entry of this name.

        Raises:
            InvalidInput: there is none, it cannot be loaded, or it is not what the table holds.
        """
        value = load(self.kind, name)
        _require_type(self.kind, name, value, self._type)
        return cast(T, value)

    def __contains__(self, name: object) -> bool:
        return name in names(self.kind)

    def __iter__(self) -> Iterator[str]:
        return iter(names(self.kind))

    def __len__(self) -> int:
        return len(names(self.kind))

    def listing(self) -> list[Listed[T]]:
        """Every entry with its origin; one that cannot be loaded says why."""
        lines: list[Listed[T]] = []
        for name in self:
            try:
                lines.append(Listed(name, origin(self.kind, name), self.named(name)))
            except InvalidInput as error:
                ours = BUILTIN[self.kind].get(name)
                claimed = Origin(ours) if ours else _installed(self.kind)[name][0]
                lines.append(Listed(name, claimed, None, error.message))
        return lines
