"""The line of those who wait for this machine's memory: nobody is passed by smaller ones for ever.

Whoever waits comes back, looks and goes away again; between two looks there is a file of it.

Invariants:
- who has waited for `PATIENCE_S`, or was passed by `MOST_PASSED` builds, is first: what it needs is
  kept for it, and whoever came later begins only with what is free beside that;
- only what ends is waited for: one that would not fit even if all builds here had ended (an engine
  holds the rest) keeps nobody waiting;
- who waits no more (it was cancelled, paused, or given up) keeps nothing; who still waits in a
  queue stands in line while nobody has time for it; of whom nobody knows, until it has not come
  back for a while.

Everything here is to be called by one process at a time (`Reservations` sees to it).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from adapterworks.builders.plan.occupied import USABLE, Wait
from adapterworks.manifests.atomic import write_atomic

PATIENCE_S = 600.0
MOST_PASSED = 5
LOOK_S = 30.0
"""Whoever is first is to look again within this."""
# Until one that does not come back is forgotten: whoever is first looks often.
_FIRST_S, _OTHER_S = 4 * LOOK_S, 660.0
# The same of one that is known to wait: all workers may be busy, but they may be gone too.
_KNOWN_S = 6 * 3600.0

Standing = Callable[[Sequence[str]], Mapping[str, bool]]
"""By ids, which still wait and which do so no more; those that are not known are left out."""


@dataclass(frozen=True, slots=True)
class Waiter:
    """A build that waits for memory. It does not stay: it comes again, and is known by its id.

    Attributes:
        id: unique among all who may wait.
        since: when it began to wait, in seconds since the epoch.
    """

    id: str
    since: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A place in line.

    Attributes:
        what: the build, in words that other users know it by.
        needs: what it needs, as the beginning of a sentence.
        device: whose memory it needs.
        size: how much of it, in bytes.
        until: when it is forgotten, in seconds since the epoch.
    """

    id: str
    since: float
    what: str
    needs: str
    device: str
    size: int
    passed: int = 0
    until: float = 0.0

    @property
    def place(self) -> tuple[float, str]:
        """The order of the line."""
        return self.since, self.id

    @property
    def room(self) -> int:
        """Bytes that have to be free for it."""
        return int(self.size / USABLE) + 1


class MemoryQueue:
    """Who waits for the memory of one machine, in order.

    Args:
        folder: holds a file for each place in line.
        now: seconds since the epoch.
        standing: knows who still waits; None: nobody does.
    """

    def __init__(
        self, folder: Path, now: Callable[[], float] = time.time, standing: Standing | None = None
    ) -> None:
        self._folder, self._now, self._standing = folder, now, standing

    def find(self, waiter: Waiter) -> Waiting | None:
        """The place of a waiter, if it stands in line."""
        return self._read(self._path(waiter.id))

    def first(self, device: str, most: int, waiter: Waiter | None) -> list[Waiting]:
        """Those that a waiter has to let go first, in order.

        Args:
            most: bytes that would be free if all builds had ended.
            waiter: who asks; one that has not waited yet comes after all of them.
        """
        return [
            other
            for other in self._before(device, waiter)
            if self._is_first(other) and other.room <= most
        ]

    def stand(self, new: Waiting, most: int) -> Wait:
        """Stand in line, or stay there.

        Args:
            most: bytes that would be free if all builds had ended.
        """
        waiter = Waiter(new.id, new.since)
        known = self.find(waiter)
        new = replace(new, passed=known.passed if known else 0)
        first = self._is_first(new) and new.room <= most
        first = first and not self.first(new.device, most, waiter)
        until = self._now() + (_FIRST_S if first else _OTHER_S)
        self._write(replace(new, until=until))
        return Wait(new.since, new.passed, first)

    def leave(self, waiter: Waiter) -> None:
        """Give up a place in line."""
        self._path(waiter.id).unlink(missing_ok=True)

    def pass_by(self, device: str, waiter: Waiter | None) -> None:
        """Note that a build has begun ahead of those that stand in line before it."""
        for other in self._before(device, waiter):
            self._write(replace(other, passed=other.passed + 1))

    def _is_first(self, one: Waiting) -> bool:
        return self._now() - one.since >= PATIENCE_S or one.passed >= MOST_PASSED

    def _before(self, device: str, waiter: Waiter | None) -> list[Waiting]:
        found = (one for one in self._all() if one.device == device)
        if waiter is not None:
            mine = (waiter.since, waiter.id)
            found = (one for one in found if one.place < mine)
        return sorted(found, key=lambda one: one.place)

    def _all(self) -> Iterator[Waiting]:
        found = {path: self._read(path) for path in self._folder.glob("*.json")}
        ids = [one.id for one in found.values() if one is not None]
        known = self._standing(ids) if ids and self._standing is not None else {}
        for path, one in found.items():
            if one is not None and self._stands(one, known.get(one.id)):
                yield one
            else:
                path.unlink(missing_ok=True)

    def _stands(self, one: Waiting, waits: bool | None) -> bool:
        """Whether somebody still stands in line.

        Args:
            waits: whether it is known to wait; None: it is not known.
        """
        more = _KNOWN_S if waits else 0.0
        return waits is not False and one.until + more > self._now()

    def _path(self, id_: str) -> Path:
        return self._folder / f"{hashlib.sha256(id_.encode()).hexdigest()[:24]}.json"

    def _read(self, path: Path) -> Waiting | None:
        with suppress(OSError, ValueError, TypeError):  # cut off, or another version's: it is lost
            return Waiting(**json.loads(path.read_bytes()))
        return None

    def _write(self, one: Waiting) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path(one.id), json.dumps(asdict(one)))
