"""A record's columns, asked for by a format's own names; what is not as it should be is a fault."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from adapterworks.builders.data.rows import Message


class FormatFault(Exception):
    """Why one record is not a row of its format."""


class Columns:
    """A record's columns under the format's own names.

    A column that is read under another name is not read under its own as well.

    Args:
        columns: as the source has them.
        renamed: the format's name → the source's.
        ignored: columns, and keys of turns, that are read as if they were not there.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        renamed: Mapping[str, str],
        ignored: Collection[str] = (),
    ) -> None:
        self._columns = {key: value for key, value in columns.items() if key not in ignored}
        self._renamed = renamed
        self._ignored = ignored

    def within(self, values: Mapping[str, Any]) -> Columns:
        """A table within the record under its own names, with the same keys passed over."""
        return Columns(values, {}, self._ignored)

    def get(self, name: str) -> Any:
        """The value, None if there is no such column."""
        return None if self._is_another(name) else self._columns.get(self.column(name))

    def _is_another(self, name: str) -> bool:
        return name not in self._renamed and name in self._renamed.values()

    def column(self, name: str) -> str:
        """The source's name of a column, for messages."""
        return self._renamed.get(name, name)

    def has_turns(self, name: str) -> bool:
        """Whether the column is a list (of turns) rather than text."""
        return isinstance(self.get(name), list | tuple)

    def text(self, name: str, *, required: bool = True) -> str:
        """A text column; empty where an optional one is missing or null.

        Raises:
            FormatFault: it is missing, or not text.
        """
        value = self.get(name)
        column = self.column(name)
        if value is None and not required:
            return ""
        if value is None and self._is_another(name):
            raise FormatFault(f"column `{name}` is read under another name in `data.columns`")
        if value is None and column in self._columns:
            raise FormatFault(f"column `{column}` is null")
        if value is None:
            have = ", ".join(f"`{key}`" for key in self._columns) or "none"
            raise FormatFault(f"no column `{column}` (it has {have})")
        if not isinstance(value, str):
            raise FormatFault(f"column `{column}` is a {type(value).__name__}, not text")
        return value

    def turns(self, name: str) -> Sequence[Any]:
        """A column that is a list of turns, or its JSON text, as tables hold it.

        Raises:
            FormatFault: it is not, or is empty.
        """
        value = self.get(name)
        if isinstance(value, str):
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(value)
        if not isinstance(value, list | tuple) or not value:
            raise FormatFault(f"column `{self.column(name)}` is not a list of turns")
        if not self._ignored:
            return value
        return [
            {key: given for key, given in turn.items() if key not in self._ignored}
            if isinstance(turn, Mapping)
            else turn
            for turn in value
        ]

    def system(self, turns: Sequence[Message]) -> tuple[Message, ...]:
        """The column `system` as a turn, unless the turns begin with one or there is none."""
        text = self.text("system", required=False)
        if not text.strip() or (turns and turns[0]["role"] == "system"):
            return ()
        return ({"role": "system", "content": text},)

    def tools(self) -> tuple[Mapping[str, Any], ...]:
        """The column `tools`: JSON schemas of functions, as a list or as its JSON text.

        Raises:
            FormatFault: it is something else.
        """
        value, column = self.get("tools"), self.column("tools")
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else None
            except (ValueError, RecursionError) as error:
                raise FormatFault(f"column `{column}` is not JSON: {error}") from None
        if not value:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(t, Mapping) for t in value):
            raise FormatFault(f"column `{column}` is not a list of JSON schemas")
        return tuple(value)
