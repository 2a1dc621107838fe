"""Digests of the code that asks an engine: part of an engine's identity."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from adapterworks.manifests.digests import digest_file, digest_json

_PACKAGE = Path(__file__).parents[2]


@cache
def code_digest(*parts: str) -> str:
    """Digest of source files and folders, given by their paths under the package."""
    files: list[Path] = []
    for part in parts:
        path = _PACKAGE / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return digest_json({path.relative_to(_PACKAGE).as_posix(): digest_file(path) for path in files})
