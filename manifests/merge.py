"""One table from three layers: the file, a profile, `--set` overrides.

Tables are merged key by key; every other value, arrays included, is replaced. For every value that
did not come from its own place in the file, its origin is kept, so that a fault is reported where
the user wrote the value.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from adapterworks.manifests.errors import InvalidInput

KeyPath = tuple[str | int, ...]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: at `path` in the file, or in the override `override`."""

    path: KeyPath
    override: str | None = None


@dataclass
class Merged:
    """The merged tables and, where it differs from the value's own place, each value's origin."""

    table: Table
    origins: dict[KeyPath, Origin] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> Origin:
        """Where the value at `path` was written; for a missing value, where its table was."""
        for length in range(len(path), 0, -1):
            if found := self.origins.get(path[:length]):
                return Origin((*found.path, *path[length:]), found.override)
        return Origin(path)

    def lay_over(self, table: Table, origin: Origin, at: KeyPath = ()) -> None:
        """Merge `table`, written at `origin`, into the table at `at`."""
        target = self.table
        for key in at:
            target = target[str(key)]
        for key, value in table.items():
            path = (*at, key)
            source = Origin((*origin.path, key), origin.override)
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                self.lay_over(value, source, path)
            else:
                target[key] = value
                self._forget_below(path)
                self.origins[path] = source

    def set(self, override: str) -> None:
        """Apply one `key.path=value`; a table given as value replaces the table.

        Raises:
            InvalidInput: no `=`, not a key path, or the path leads through a value.
        """
        path, value = parse_override(override)
        target = self.table
        for depth, key in enumerate(path[:-1]):
            if key not in target:
                target[key] = {}
                self.origins[path[: depth + 1]] = Origin(path[: depth + 1], override)
            if not isinstance(target[key], dict):
                raise InvalidInput(
                    f"`{override}` sets a key inside `{'.'.join(path[: depth + 1])}`, "
                    "which is not a table",
                    hint="arrays are replaced as a whole: write the array as the value",
                )
            target = target[key]
        target[path[-1]] = value
        self._forget_below(path)
        self.origins[path] = Origin(path, override)

    def _forget_below(self, path: KeyPath) -> None:
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]


def parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    """`train.epochs=1` as key path and value: a TOML value, or else the text itself.

    Raises:
        InvalidInput: there is no `=`, or no key path before it.
    """
    left, separator, right = override.partition("=")
    hint = "write `key.path=value`, such as `train.epochs=1`"
    if not separator:
        raise InvalidInput(f"`{override}` is not an override", hint=hint)
    try:
        nested: Any = tomllib.loads(f"{left} = 0")
    except tomllib.TOMLDecodeError:
        raise InvalidInput(f"`{left}` is not a key path", hint=hint) from None
    path: list[str] = []
    while isinstance(nested, dict) and len(nested) == 1:
        (key, nested) = next(iter(nested.items()))
        path.append(key)
    if nested != 0:
        raise InvalidInput(f"`{left}` is not a key path", hint=hint)
    try:
        parsed = tomllib.loads(f"value = {right}")
    except tomllib.TOMLDecodeError:
        return tuple(path), right
    # A value with a newline could smuggle in further keys; then it is meant as text.
    return tuple(path), parsed["value"] if len(parsed) == 1 else right


def merge(document: Table, profile: str | None, overrides: Sequence[str]) -> Merged:
    """The document without its profiles, with one of them and the overrides laid over it.

    Raises:
        InvalidInput: an override is malformed (see `Merged.set`).
    """
    merged = Merged(deepcopy({key: value for key, value in document.items() if key != "profiles"}))
    if stages := document.get("stages"):  # `[[stages]]`, by name from here on
        merged.table["stages"] = {
            stage["name"]: deepcopy({key: v for key, v in stage.items() if key != "name"})
            for stage in stages
        }
    if profile is not None:
        table = deepcopy(document["profiles"][profile])
        merged.lay_over(table, Origin(("profiles", profile)))
    for override in overrides:
        merged.set(override)
    return merged
