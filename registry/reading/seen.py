"""Files that this process has hashed and that nobody has touched since: not hashed again.

Invariant: a digest is given for the bytes that are there. A file's stamp (device, inode, size,
times of its bytes and of its inode) changes with every write to it, and nobody can set the last of
them; so a file with the stamp it was hashed under has the bytes it was hashed with. One that was
changed less than `_SETTLED_NS` before it was hashed is not remembered: a write in the same tick of
the file system's clock would leave no trace. What a disk loses by itself is found by the next
process.
"""

from __future__ import annotations

import time
from pathlib import Path

from adapterworks.manifests.digests import digest_file

_SETTLED_NS = 100_000_000
_MOST = 20_000
Stamp = tuple[int, int, int, int, int]


class Seen:
    """The files of one process; threads may share it."""

    def __init__(self) -> None:
        self._digests: dict[Stamp, str] = {}

    def digest(self, path: Path) -> str:
        """As `digest_file`, without reading what was read before.

        Raises:
            OSError: it cannot be read.
        """
        began, stamp = time.time_ns(), _stamp(path)
        known = self._digests.get(stamp)
        if known is not None:
            return known
        digest = digest_file(path)
        changed = max(stamp[3:])
        if changed < began - _SETTLED_NS and _stamp(path) == stamp:
            if len(self._digests) >= _MOST:
                self._digests.pop(next(iter(self._digests)), None)
            self._digests[stamp] = digest
        return digest


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
