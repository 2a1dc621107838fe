"""A manifest's tables as TOML, each key with a comment where there is one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(manifest: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """The text.

    Args:
        manifest: tables of texts, numbers, switches, lists, tables and lists of tables.
        comments: by key with dots.
    """
    return "\n".join(_table((), manifest, comments or {})).strip() + "\n"


def _table(
    path: tuple[str, ...], table: Mapping[str, Any], comments: Mapping[str, str]
) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not _nested(value)}
    if path and (plain or not table):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in plain.items():
        given = comments.get(".".join((*path, key)), "")
        comment = "".join(c if c.isprintable() else " " for c in given).strip()
        yield f"{_key(key)} = {_value(value)}" + (f"  # {comment}" if comment else "")
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _table((*path, key), value, comments)
        elif _nested(value):
            for entry in value:
                yield f"\n[[{'.'.join(map(_key, (*path, key)))}]]"
                yield from (f"{_key(name)} = {_value(item)}" for name, item in entry.items())


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)
    )


def _key(name: str) -> str:
    """As it is, or as a text: dots would be tables, and patterns no TOML."""
    return name if _BARE.fullmatch(str(name)) else _value(str(name))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # `inf` and `nan` are TOML's words too
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's escapes are TOML's too; what JSON leaves as it is and TOML refuses is DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
