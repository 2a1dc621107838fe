"""Files fetched from another place, each digest once, into a folder that outlives a kill.

Invariants: a file that stands under its digest's name in the stage is whole and right; what a
fetch that was cut off left beside it is continued by the next one; a stage is one process's at a
time, and is gone when its release has arrived.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adapterworks.manifests.digests import digest_bytes, digest_file
from adapterworks.manifests.errors import Conflict, IntegrityError
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.scratch import held_folder
from adapterworks.registry.remotes.held import Held


@contextmanager
def stage_of(held: Held, scratch: Path) -> Iterator[Path]:
    """The folder for what is fetched from `held`; removed when the block ends well.

    Raises:
        Conflict: another process is fetching the same.
    """
    folder = scratch / f"stage-{digest_bytes(held.where.encode())[7:31]}"
    with ExitStack() as stack:
        try:
            stack.enter_context(held_folder(folder))
        except BlockingIOError:
            raise Conflict(
                f"another process is fetching `{held.where}`", hint="wait until it is done"
            ) from None
        os.utime(folder)  # what nobody went on with for a day is swept (`scratch.py`)
        yield folder
        shutil.rmtree(folder)


def staged(held: Held, digest: str, size: int, stage: Path) -> Path:
    """The file with these bytes in the stage, fetched if it is not there.

    Raises:
        IntegrityError: what is there is not what the record says.
    """
    file = stage / digest.removeprefix("sha256:")
    if file.exists():
        return file
    coming = file.with_suffix(".coming")
    coming.unlink(missing_ok=True)
    there = held.size(digest)
    if there == size:
        held.fetch(digest, coming)
    if there != size or coming.stat().st_size != size or digest_file(coming) != digest:
        coming.unlink(missing_ok=True)
        named = next(path for path, entry in held.release.files.items() if entry.digest == digest)
        raise IntegrityError(
            f"`{named}` of `{held.where}` is not what its record says ({digest})",
            hint="pull what was pushed, by its tag; somebody changed the file since",
        )
    return coming.rename(file)


def assemble(
    held: Held, release: Release, stated: Mapping[str, str], stage: Path, folder: Path
) -> dict[str, str]:
    """Put the files of a release into `folder`, under every path that has their digest.

    Returns:
        the paths that the place says it lacks, and does, with what it says.

    Raises:
        IntegrityError: a file is not what the record says, or lacks without being stated.
    """
    withheld: dict[str, str] = {}
    said = {release.files[path].digest: why for path, why in stated.items()}
    for path, entry in release.files.items():
        if held.size(entry.digest) is None:
            if entry.digest not in said:
                raise IntegrityError(f"`{held.where}` has no `{path}`, which its record names")
            withheld[path] = said[entry.digest]
            continue
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(staged(held, entry.digest, entry.size, stage), place)
    return withheld


def _link(file: Path, place: Path) -> None:
    """The same bytes under another path, without a copy where the file system can."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
