"""What can be named in a manifest, found by its name: ours, and what others add.

Others add by installing a distribution (`entry_points.py`); a manifest's author names code of their
own by its file, where the key allows it (`user_code.py`).

Invariant: code is imported when its name is asked for, so that a broken distribution breaks only
what names it. A name means one thing: two that claim it are a fault that names both, and nobody can
take the name of something built in. Nothing is ever loaded from what was pulled or imported.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from adapterworks.manifests.builtin import BUILTIN, GRADED, GRADING, MADE_BY, TYPES, Kind
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.entry_points import Origin, group, installed
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import GraderMetric
from adapterworks.manifests.user_code import (
    UserCode,
    load_user_code,
    names_a_file,
    refusal,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """One line of a listing; `value` is None where `fault` says why it cannot be had."""

    name: str
    origin: Origin
    value: T | None
    fault: str | None = None


def names(kind: Kind) -> tuple[str, ...]:
    """All names of a kind: built-in ones first, then those of installed distributions."""
    return tuple(BUILTIN[kind]) + tuple(sorted(installed(kind).keys() - BUILTIN[kind].keys()))


def origin(kind: Kind, name: str) -> Origin:
    """Where `name` comes from.

    Raises:
        InvalidInput: there is no such name, or more than one claims it.
    """
    if isinstance(name, GraderMetric):
        return Origin(GRADED)
    if names_a_file(name):
        return Origin(str(name), file=Path(name.rpartition(":")[0]).name)
    claims = installed(kind).get(name, ())
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
                claimed = Origin(ours) if ours else installed(self.kind)[name][0]
                lines.append(Listed(name, claimed, None, error.message))
        return lines
