"""Paths that begin with `~`."""

from __future__ import annotations

from pathlib import Path

from adapterworks.manifests.errors import InvalidInput


def expanded(path: str | Path) -> Path:
    """The path with the home directory for its `~` or `~user`.

    Raises:
        InvalidInput: that user, or whoever runs this, has no home directory that is known here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InvalidInput(
            f"`{path}`: no home directory is known for `{Path(path).parts[0]}` here",
            hint="write the whole path",
        ) from error
