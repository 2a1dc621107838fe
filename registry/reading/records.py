"""Telling records from other blobs: what bytes in a store are a release's record.

Invariant: what is taken for a record is in the one spelling that has its digest for a name, with
paths that are safe to join. Any file of a release may hold a copy of a record, so being one is no
proof that it was ever published.
"""

from __future__ import annotations

import json
from pathlib import Path

from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.errors import IntegrityError, InvalidInput
from adapterworks.registry.blobs.store import BlobInfo, BlobStore, read_blob
from adapterworks.registry.releases.deposit import Deposit, read_deposit
from adapterworks.registry.releases.paths import check_path
from adapterworks.registry.releases.record import read_record
from adapterworks.registry.releases.release import Release

MAX_RECORD = 8 << 20  # bytes; a record of ours has a few kilobytes
_START = b"{"


def told_by(blobs: BlobStore, blob: BlobInfo) -> Release | Deposit | None:
    """The release or the deposit whose record a blob is; None if it is neither, or damaged."""
    if not 0 < blob.size <= MAX_RECORD:
        return None
    try:
        return told(read_blob(blobs, blob.digest))
    except IntegrityError:
        return None


def told_at(path: Path) -> Release | Deposit | None:
    """What a file would say if it were a blob."""
    if not 0 < path.stat().st_size <= MAX_RECORD:
        return None
    return told(path.read_bytes())


def told(data: bytes) -> Release | Deposit | None:
    """The release or the deposit whose record some bytes are; None if they are something else."""
    if not data.startswith(_START):
        return None
    deposit = read_deposit(data)
    if deposit is not None:
        return deposit
    try:
        release = read_record(data)
        for path in release.files:
            check_path(path)
        return release if canonical_json(json.loads(data)) == data else None
    except (IntegrityError, InvalidInput, ValueError, RecursionError):
        return None
