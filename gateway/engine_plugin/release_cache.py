"""Releases on an engine's own host: their served forms, fetched from the registry by digest.

Invariants:
- a folder is there whole or not at all, and every byte of it was hashed: the record against the
  digest that was asked for, the files against the record (`registry/reading/checkout.py`);
- all of them together take no more than the room there is; what was asked for longest ago goes
  first, and nothing that an engine on this host holds goes at all: a fetch that fails does not end
  what an earlier one holds;
- who is killed leaves nothing that counts: no lock, and no half of a folder under its name.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from adapterworks.gateway.engine_plugin.release_locks import ReleaseLocks
from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.lifecycle.eviction import make_room
from adapterworks.registry.releases.release import SERVABLE, Release
from adapterworks.registry.releases.staged import is_staged

ABANDONED_S = 3600.0
"""Seconds after which nobody is writing what has not grown: its process was killed."""


class NoRoom(Unavailable):
    """What engines on this host hold leaves no room for another release."""


class ReleaseCache:
    """The releases on this host; threads and processes may share its folder.

    Args:
        open_registry: gives the registry that is asked, at the first need of it.
        most: bytes that all served forms here may take; None: as many as come. Each process
            keeps to it by itself: where several fetch at once, what the others are fetching comes
            on top until it is there.
    """

    def __init__(self, open_registry: Callable[[], Catalog], most: int | None) -> None:
        self._open, self._most = open_registry, most
        self._lock = threading.Lock()
        self._registry: Catalog | None = None
        self._held: ReleaseLocks | None = None
        self._coming: dict[str, int] = {}

    @property
    def held(self) -> list[str]:
        """The digests that this process holds."""
        return [] if self._held is None else self._held.digests

    def fetch(self, digest: str) -> tuple[Release, Path]:
        """The release and the folder of its served form, held from now on; may take minutes.

        Raises:
            InvalidInput: it is no digest.
            NotFound: the registry has no such release, or it has no served form.
            IntegrityError: its bytes are not what they should be.
            NoRoom: there is no room for it.
            Unavailable: the registry does not answer.
        """
        if not DIGEST_PATTERN.fullmatch(digest):
            raise InvalidInput(f"`{digest[:80]}` is no digest of a release")
        registry, held = self._opened()
        already = digest in held  # an engine may have it loaded, and reads its folder again
        held.hold(digest)  # first: from now on nobody removes it
        try:
            release = registry.release(digest)
            with self._room_for(registry, held, release):
                return release, registry.checkout(digest, SERVABLE)
        except BaseException:
            if not already:
                held.let_go(digest)
            raise

    def let_go(self, digest: str) -> None:
        """No engine of this process needs it any more: it stays until others need its room."""
        if self._held is not None:
            self._held.let_go(digest)

    def close(self) -> None:
        """Close the registry; idempotent."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()
                self._registry = None

    def _opened(self) -> tuple[Catalog, ReleaseLocks]:
        with self._lock:
            if self._registry is None or self._held is None:
                self._registry = self._open()
                self._held = ReleaseLocks(self._registry.checkouts / "held")
            return self._registry, self._held

    @contextlib.contextmanager
    def _room_for(self, registry: Catalog, held: ReleaseLocks, release: Release) -> Iterator[None]:
        """Room for one more while it comes; others that are coming keep theirs."""
        root, digest = registry.checkouts, release.digest
        files = release.files.items()
        size = sum(entry.size for path, entry in files if path.startswith(f"{SERVABLE}/"))
        with self._lock:
            _clear_abandoned(root / "tmp", registry.home / "fetched")
            if self._most is not None and not _is_there(root, digest):
                # What has come counts as being there.
                coming = [s for d, s in self._coming.items() if not _is_there(root, d)]
                wanted = size + sum(coming)
                _, room = make_room(root, self._most - wanted, held.free, unused_s=0.0)
                if room < 0:
                    raise NoRoom(
                        f"there is no room for the {size} bytes of {digest}: {-room} are lacking, "
                        "and engines hold the rest",
                        hint="raise `ADAPTERS_CHECKOUTS` on the engine's host, or load fewer "
                        "adapters in its engine (`[residency] max_cpu_loras`)",
                    )
                self._coming[digest] = size
        try:
            yield
        finally:
            with self._lock:
                self._coming.pop(digest, None)


def _is_there(root: Path, digest: str) -> bool:
    return (root / digest.removeprefix("sha256:") / SERVABLE).exists()


def _clear_abandoned(*folders: Path) -> None:
    """Remove what processes that were killed had begun to write."""
    before = time.time() - ABANDONED_S
    for folder in folders:
        for begun in filter(is_staged, folder.glob("*")):
            with contextlib.suppress(FileNotFoundError):  # its writer has just finished it
                newest = max(path.stat().st_mtime for path in (begun, *begun.rglob("*")))
                if newest > before:
                    continue
                if begun.is_dir():
                    shutil.rmtree(begun, ignore_errors=True)
                elif begun.suffix != ".lock":  # others may wait on a lock file
                    begun.unlink()
