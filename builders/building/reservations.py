"""Memory that builds on this machine will take: what one was promised, another does not count on.

A build sees free memory, prepares for minutes and takes the memory only when it trains; two that
look at the same time would both start into it. So each reserves what its plan needs, in a folder
of the home that the builds share.

Invariants:
- a reservation lives as long as the process that made it: each is a file that its holder has
  locked, so what a killed build had reserved is nobody's;
- two reservations are never decided at once;
- who waits has a place in the queue (`memory_queue.py`): what is kept for the first is not free.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from adapterworks.builders.building import holding
from adapterworks.builders.building.memory_queue import MemoryQueue, Standing, Waiter, Waiting
from adapterworks.builders.building.reservation import Reservation
from adapterworks.builders.plan.machine import Machine, detect_machine
from adapterworks.builders.plan.occupied import USABLE, Occupied, gib
from adapterworks.manifests.errors import Refused

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of a machine's memory for somebody.

    Attributes:
        machine: with what is left as its free memory.
        others: what builds have reserved.
        kept: those who wait and are to begin first.
        most: bytes that would be free if all builds had ended.
    """

    machine: Machine
    others: Sequence[Reservation]
    kept: Sequence[Waiting]
    most: int

    @property
    def words(self) -> str:
        """Who has what of the rest, as the end of a sentence; empty if nobody has."""
        reserved = ", ".join(f"{gib(o.unused)} for {o.what} ({o.process})" for o in self.others)
        kept = ", ".join(f"{gib(one.room)} for {one.what} ({one.id})" for one in self.kept)
        said = (
            f"{reserved} are reserved" if reserved else "",
            f"{kept} are kept, as it has waited for long" if kept else "",
        )
        return "; ".join(filter(None, said))


class Reservations:
    """What the builds of one home have reserved of this machine.

    Args:
        home: that they share.
        detect: what is free now.
        waiter: who comes again if there is no room now; None: nobody waits.
        now: seconds since the epoch.
        standing: knows who of those in line still waits.
    """

    def __init__(
        self,
        home: Path,
        *,
        detect: Callable[[], Machine] = detect_machine,
        waiter: Waiter | None = None,
        now: Callable[[], float] = time.time,
        standing: Standing | None = None,
    ) -> None:
        # A home may be on a disk that several machines share.
        self._folder = home / "memory" / _this_machine()
        self._detect, self._waiter, self._now = detect, waiter, now
        self._queue = MemoryQueue(self._folder / "waiting", now, standing)

    def machine(self) -> Machine:
        """This machine with the memory that is free: not in use, not reserved by a build, and not
        kept for one that waits in line."""
        with self._deciding():
            return self._left().machine

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Take a place in line if the block finds no room; give it up if the block ends otherwise.

        One that stood in line already is not let in before what it waits for is there.

        Args:
            what: for whom, in words.

        Raises:
            Occupied: with the place in line, if somebody waits.
        """
        waiter = self._waiter
        if waiter is None:
            yield
            return
        try:
            self._look(waiter)
            yield
        except Occupied as error:
            self._stand(waiter, what, error)
            raise
        except BaseException:
            self._leave(waiter)
            raise
        else:
            self._leave(waiter)

    @contextmanager
    def held(
        self, size: int, what: str, count: int = 1, *, first: bool = False
    ) -> Iterator[tuple[str, ...]]:
        """Reserve as long as the block runs; yields the GPUs that were reserved, as CUDA calls
        them, none of a CPU or where they cannot be told apart.

        Args:
            size: bytes of this machine's memory, or of each card's.
            what: for whom, in words.
            count: GPUs that it takes.
            first: those that stand first, not the freest ones.

        Raises:
            Occupied: so much is not free.
            Refused: so much is not there.
        """
        with self._deciding():
            left = self._left()
            chosen = left.machine.each[:count] if first else left.machine.freest(count)
            machine = replace(left.machine, each=chosen).of_cards(count)
            cards = tuple(card.id for card in chosen)
            cards = cards if all(cards) else ()
            if size > int(machine.most * USABLE):
                raise Refused(
                    f"{what} needs {gib(size)} as it was begun, and this machine has "
                    f"{gib(machine.most)}, of which a plan takes {gib(machine.most * USABLE)}",
                    hint="`--force` starts over, with a plan for this machine",
                )
            if size > int(machine.memory * USABLE):
                raise Occupied.of(
                    f"{what} needs {gib(size)}",
                    size=size,
                    free=machine.memory,
                    total=machine.most,
                    reserved=left.words,
                    hint="it can begin when others have ended",
                )
            if self._waiter is not None:
                self._queue.leave(self._waiter)
            self._queue.pass_by(machine.device, self._waiter)
            process = os.getpid()
            mine = Reservation(what, process, machine.device, size, holding.held_by(process), cards)
            path, descriptor = self._write(mine)
        try:
            yield cards
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _left(self) -> _Left:
        machine = self._detect()
        others = [other for other in self._living() if other.device == machine.device]
        if machine.each:
            return self._left_of_cards(machine, others)
        # What builds hold is free when they have ended, whatever they have taken of it by now.
        most = min(machine.most, machine.memory + sum(o.size - o.unused for o in others))
        kept = self._queue.first(machine.device, most, self._waiter)
        free = machine.memory - sum(other.unused for other in others)
        free -= sum(one.room for one in kept)
        return _Left(replace(machine, memory=max(0, free), total=machine.most), others, kept, most)

    def _left_of_cards(self, machine: Machine, others: Sequence[Reservation]) -> _Left:
        """The same card by card. What is kept for who waits is kept of the freest ones."""
        free = {at: card.free for at, card in enumerate(machine.each)}
        held, most = [holding.held_of_cards(other.process) for other in others], 0
        for at, card in enumerate(machine.each):
            each = [
                (other.size, other.unused_of(card.id, of))
                for other, of in zip(others, held, strict=True)
                if not other.cards or card.id in other.cards
            ]
            unused = sum(left for _, left in each)
            ended = free[at] + sum(size for size, _ in each) - unused
            most, free[at] = max(most, min(machine.most, ended)), free[at] - unused
        kept = self._queue.first(machine.device, most, self._waiter)
        for one in kept:
            freest = max(free, key=lambda at: free[at])
            free[freest] -= one.room
        cards = tuple(replace(c, free=max(0, free[at])) for at, c in enumerate(machine.each))
        seen = replace(machine, each=cards, total=machine.most).of_cards(1)
        return _Left(seen, others, kept, most)

    def _look(self, waiter: Waiter) -> None:
        """Whether there is room now for one that waits; it costs nothing, unlike a preparation.

        Raises:
            Occupied: there is none.
        """
        with self._deciding():
            left, known = self._left(), self._queue.find(waiter)
        machine = left.machine
        if known is None or known.device != machine.device:
            return
        if known.size > int(machine.memory * USABLE):
            raise Occupied.of(
                known.needs,
                size=known.size,
                free=machine.memory,
                total=machine.most,
                reserved=left.words,
                hint="it can begin when others have ended",
            )

    def _stand(self, waiter: Waiter, what: str, error: Occupied) -> None:
        with self._deciding():
            left = self._left()
            device = left.machine.device
            mine = Waiting(waiter.id, waiter.since, what, error.needs, device, error.size)
            error.wait = self._queue.stand(mine, left.most)
        if error.wait.first:
            error.public += "; it has waited for so long that smaller ones wait for it now"
        elif left.kept:
            error.public += "; one that has waited for longer is to begin first"

    def _leave(self, waiter: Waiter) -> None:
        with self._deciding():
            self._queue.leave(waiter)

    def _living(self) -> Iterator[Reservation]:
        """The reservations whose holders live; the others' files go."""
        for path in sorted(self._folder.glob("*.json")):
            with suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield Reservation(**json.load(file))
                else:
                    path.unlink(missing_ok=True)

    def _write(self, mine: Reservation) -> tuple[Path, int]:
        name = secrets.token_hex(8)
        staged, path = self._folder / f".{name}", self._folder / f"{name}.json"
        descriptor = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        values = {field: getattr(mine, field) for field in mine.__slots__}
        os.write(descriptor, json.dumps(values).encode())
        staged.rename(path)  # whole and locked from the first moment that others see it
        return path, descriptor

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _this_machine() -> str:
    """Its name with the start it is in: after another one nothing of before is reserved."""
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else "boot"
    return f"{socket.gethostname()}-{boot}"
