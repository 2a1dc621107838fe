"""What a request for an adapter needs besides a turn at the engine: the adapter, and a seat for it.

Invariant: a seat and a turn are taken in one step, by the queue that gives turns. So whoever waits
for a seat holds no turn, whoever waits for a turn holds no seat, and a free seat goes to whose turn
it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from adapterworks.gateway.engines.engine import NotLoaded
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.seats import Seats
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.releases.release import Release


class Holder(Protocol):
    """What an engine holds, as far as a gate asks; see `residency.py`."""

    seats: Seats

    def loading(self, release: Release, tenant: str | None) -> Entry | None:
        """The load that must end before the adapter can be used; None if it is loaded."""

    def enter(self, digest: str, tenant: str | None) -> Entry | None:
        """Become a user of what is loaded; None if it is not."""

    def leave(self, entry: Entry) -> None:
        """A user is done."""

    def left(self, release: Release, since: float) -> float:
        """Seconds that somebody who came at `since` still waits for it."""

    def too_slow(self, release: Release) -> Unavailable:
        """What is said to whoever waited for too long."""


class Gate:
    """One request's; see `gateway/admission/fairness.py` for when it is asked what.

    Attributes:
        key: gates with the same key are open at the same time.
    """

    def __init__(self, residency: Holder, release: Release, tenant: str | None = None) -> None:
        self.key = release.digest
        self._since = time.monotonic()
        self._residency = residency
        self._release = release
        self._tenant = tenant
        self._loading: Entry | None = None
        self._claimed = False

    def open(self) -> bool:
        """Whether a seat can be claimed now; one that was unloaded meanwhile is loaded again.

        Raises:
            Refused, IntegrityError, Unavailable: it cannot be loaded.
        """
        if self._loading is not None and self._loading.error is not None:
            raise self._loading.error.again()
        self._loading = self._residency.loading(self._release, self._tenant)
        return self._loading is None and self._residency.seats.has_room(self.key)

    def claim(self) -> bool:
        """Take a seat, if there is one.

        Raises:
            Refused, IntegrityError, Unavailable: as `open`.
        """
        if not self.open():
            return False
        self._residency.seats.claim(self.key)
        self._claimed = True
        return True

    def give_back(self) -> None:
        """The seat is not needed; again and again is once."""
        if self._claimed:
            self._claimed = False
            self._residency.seats.leave(self.key)
            self._residency.seats.wake()

    def wait(self) -> None:
        """Somebody waits here from now on."""
        self._residency.seats.ask(self.key)

    def stop(self) -> None:
        """Nobody does any more."""
        self._residency.seats.stop_asking(self.key)

    def left(self) -> float:
        """Seconds that it is still waited for."""
        return self._residency.left(self._release, self._since)

    def late(self) -> Unavailable:
        """What is said to whoever waited for too long."""
        return self._residency.too_slow(self._release)

    @contextlib.contextmanager
    def use(self) -> Iterator[Entry]:
        """Use the adapter in the seat that was claimed; it stays until the block ends.

        Raises:
            NotLoaded: the engine was replaced in this very moment.
        """
        assert self._claimed
        self._claimed = False
        self._residency.seats.leave(self.key)
        entry = self._residency.enter(self.key, self._tenant)
        if entry is None:
            self._residency.seats.wake()
            raise NotLoaded("the engine was restarted meanwhile", retry_after=2.0)
        try:
            yield entry
        finally:
            self._residency.leave(entry)
