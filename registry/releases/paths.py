"""Paths inside a release: plain, relative, and the same on every system."""

from __future__ import annotations

from adapterworks.manifests.errors import InvalidInput


def check_path(path: str) -> str:
    """Return a release path if it is safe to join to a folder on any system.

    Raises:
        InvalidInput: absolute, `..`, empty or `.` parts, a backslash or a control character.
    """
    plain = all(part not in ("", ".", "..") for part in path.split("/"))
    if not plain or "\\" in path or not path.isprintable():
        raise InvalidInput(f"{path!r} is not a path inside a release")
    return path
