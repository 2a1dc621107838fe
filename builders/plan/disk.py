"""Whether there is room for all that a build writes, asked before anything is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.errors import Refused


def require_disk(plan: Plan, folder: Path) -> None:
    """Refuse a build whose checkpoints and release have no room.

    Args:
        folder: the build's; it need not be there yet, and what is in it already is room that is
            taken by it.

    Raises:
        Refused: with what is needed and what is free.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    files = (path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()
    needed = plan.disk - sum(path.stat().st_size for path in files)
    free = shutil.disk_usage(there).free
    if needed > free:
        raise Refused(
            f"the build writes {_gigabytes(needed)} (checkpoints, best weights, release), and "
            f"{_gigabytes(free)} are free where `{there}` is",
            hint="make room with `adapters gc`, or set ADAPTERS_HOME to a larger disk",
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
