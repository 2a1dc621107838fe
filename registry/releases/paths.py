"""Paths inside a release: plain, relative, and the same on every system."""

from __future__ import annotations

from adapterworks.manifests.errors import InvalidInput

_LONGEST = 255  # bytes of one part: what file systems take


def check_path(path: str) -> str:
    """Return a release path if it is safe to join to a folder on any system.

    Raises:
        InvalidInput: absolute, `..`, empty, `.` or too long parts, a backslash or a control
            character.
    """
    plain = all(part not in ("", ".", "..") for part in path.split("/"))
    short = all(len(part.encode("utf-8", "replace")) <= _LONGEST for part in path.split("/"))
    if not plain or not short or "\\" in path or not path.isprintable():
        raise InvalidInput(f"{path[:300]!r} is not a path inside a release")
    return path
