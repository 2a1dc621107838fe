"""Folders of builds that hold rows which are erased: everything in them goes, the lock excepted.

A folder holds rows as token ids and texts while it builds, and what was sampled from them until it
is begun again. Invariant: what is being built is not touched; it is named, and has to end first.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adapterworks.builders.building.record import recorded, start_over
from adapterworks.manifests.errors import Conflict


def builds_of(builds: Path, datasets: Collection[str], trainings: Collection[str]) -> list[Path]:
    """The folders of builds that read one of these datasets, or did one of these trainings.

    Args:
        builds: of this machine's `ADAPTERS_HOME`.
        datasets: digests of datasets.
        trainings: digests of releases' trainings.
    """
    found = []
    for folder in sorted(builds.glob("*")):
        try:
            record = recorded(folder)
        except (OSError, json.JSONDecodeError):  # torn, or somebody else's
            continue
        if record is None:
            continue
        read = {one["digest"] for one in record["plan"].get("datasets", ())}
        if read & set(datasets) or record.get("digests", {}).get("train") in trainings:
            found.append(folder)
    return [folder for folder in found if any(p.name != ".lock" for p in folder.iterdir())]


def require_idle(folders: Collection[Path]) -> None:
    """Refuse while one of them is built in.

    Raises:
        Conflict: naming the first.
    """
    for folder in folders:
        with _idle(folder):
            pass


def erase_builds(folders: Collection[Path]) -> None:
    """Remove all that these builds have left.

    Raises:
        Conflict: one of them has begun to build.
    """
    with ExitStack() as held:  # so that none begins between the look and the end
        for folder in folders:
            held.enter_context(_idle(folder))
        for folder in folders:
            start_over(folder)


@contextmanager
def _idle(folder: Path) -> Iterator[None]:
    """Keep builds out of a folder.

    Raises:
        Conflict: one is under way there.
    """
    with (folder / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"a build is under way in `{folder}`, from what is to be erased",
                hint="end that build, then erase",
            ) from None
        yield
