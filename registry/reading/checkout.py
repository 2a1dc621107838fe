"""Checkouts: the verified, read-only files of one role of a release, as a folder to load from.

A checkout is made beside its place and renamed into it: the folder's existence means that it is
complete. It is checked every time it is asked for: its files are those of the release, with the
bytes that they had when this process hashed them (`seen.py`); a damaged one is made again from the
blobs. So nothing is synced: a first request would wait for the disk, and what a power cut tears is
found. Files are copies, not hard links: whatever is done to them, the blobs stay what they are.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from adapterworks.manifests.errors import NotFound
from adapterworks.registry.blobs.store import BlobStore, copy_blob
from adapterworks.registry.reading.files import explained
from adapterworks.registry.reading.seen import Seen
from adapterworks.registry.releases.absence import ERASED, Absence, AbsentFile
from adapterworks.registry.releases.paths import check_path
from adapterworks.registry.releases.release import Release


def checkout(
    blobs: BlobStore,
    root: Path,
    release: Release,
    role: str,
    absences: Mapping[str, Absence] = MappingProxyType({}),
    seen: Seen | None = None,
) -> Path:
    """The folder of the release's files under `role/`; see `Registry.checkout`.

    Args:
        absences: what is known of the release's files that may not be here, by path; such a file is
            left out.
        seen: what was hashed before.
    """
    seen = Seen() if seen is None else seen
    digest = release.digest
    files = {
        check_path(path): entry.digest
        for path, entry in release.files.items()
        if path.startswith(f"{role}/")
    }
    if not files:
        raise NotFound(
            f"release {digest} of `{release.name}` has no `{role}` files",
            hint=f"see its files: adapters show {release.name}@{digest}",
        )
    left_out = {path for path in files if _is_absent(blobs, files[path], absences.get(path))}
    if left_out == files.keys():
        path = min(left_out)
        raise AbsentFile(f"{release.name}@{digest}", path, absences[path])
    files = {path: blob for path, blob in files.items() if path not in left_out}
    target = root / digest.removeprefix("sha256:") / role
    asked_for(target)  # first: from now on nobody takes it for unused
    if _is_intact(target, role, files, seen):
        return target
    with locked(root, digest):
        if _is_intact(target, role, files, seen):
            return target
        staged = root / "tmp" / uuid.uuid4().hex
        try:
            for path, blob in files.items():
                target_file = staged / path
                target_file.parent.mkdir(parents=True, exist_ok=True)
                with explained(release, path):
                    copy_blob(blobs, blob, target_file)
                target_file.chmod(0o444)
            if target.exists():  # damaged
                remove_tree(target, root)
            target.parent.mkdir(parents=True, exist_ok=True)
            (staged / role).rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return target


def asked_for(target: Path) -> None:
    """Let the folder's time say when it was asked for: room is made by it."""
    with suppress(OSError):  # not there yet, another user's, or on a disk that cannot be written
        os.utime(target)


def remove_tree(folder: Path, root: Path) -> None:
    """Remove a checkout; its place is empty at once, never half-full."""
    doomed = root / "tmp" / uuid.uuid4().hex
    doomed.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _is_absent(blobs: BlobStore, blob: str, absence: Absence | None) -> bool:
    return absence is not None and (absence.state == ERASED or not blobs.exists(blob))


def _is_intact(target: Path, role: str, files: dict[str, str], seen: Seen) -> bool:
    try:
        found = {
            f"{role}/{path.relative_to(target).as_posix()}": path
            for path in target.rglob("*")
            if not path.is_dir()
        }
        return found.keys() == files.keys() and all(
            seen.digest(path) == files[name] for name, path in found.items()
        )
    except FileNotFoundError:  # somebody is replacing it
        return False


@contextmanager
def locked(root: Path, digest: str) -> Iterator[None]:
    """One maker or remover of a checkout at a time on this machine; the dead hold no lock."""
    locks = root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    # 256 lock files for all releases: lock files must not be removed while others may wait on them.
    with (locks / digest.removeprefix("sha256:")[:2]).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
