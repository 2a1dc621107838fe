"""A distribution as pip leaves it: modules beside a dist-info folder, on somebody's import path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_distribution(
    folder: Path,
    name: str,
    version: str,
    points: Mapping[str, Mapping[str, str]],
    files: Mapping[str, str],
) -> Path:
    """Install a distribution into a folder; returns the folder, which goes onto PYTHONPATH.

    Args:
        points: kind (`metrics`) → name → `module:attribute`.
        files: file name → text.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = (
        f"[adapterworks.{kind}]\n" + "".join(f"{key} = {at}\n" for key, at in entries.items())
        for kind, entries in points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    for path, text in files.items():
        (folder / path).write_text(text)
    return folder
