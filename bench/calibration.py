"""How fast this machine is at what benchmarks spend their time on: a second of fixed work.

A figure in milliseconds is one machine's. With the machine's calibration beside it, two files of
figures can be compared: what moved as the machine did has not moved.
"""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Calibration:
    """Medians of five; each is better when it is smaller.

    Attributes:
        python: microseconds of a fixed loop of the interpreter.
        hashing: microseconds to hash a MiB (SHA-256).
        memory: microseconds to copy 16 MiB.
        loopback: microseconds of a round trip over TCP on this machine.
        sync: microseconds to append 300 bytes to a file and fsync it.
    """

    python: float
    hashing: float
    memory: float
    loopback: float
    sync: float

    @classmethod
    def of(cls, values: dict[str, float]) -> Calibration:
        """As it was saved."""
        return cls(**values)

    def values(self) -> dict[str, float]:
        """By name."""
        return asdict(self)

    def slower_than(self, other: Calibration) -> tuple[float, float]:
        """The least and the most by which this machine is slower than the other, over the kinds.

        The two kinds that differ most, either way, are left out: a disk that somebody else uses is
        no slower machine.
        """
        mine, theirs = self.values(), other.values()
        factors = sorted(mine[name] / theirs[name] for name in mine)
        return factors[1], factors[-2]


def calibrate() -> Calibration:
    """Do the fixed work, about a second of it."""
    data, big = bytes(1 << 20), bytes(1 << 24)
    left, right = _connected()
    with left, right, tempfile.TemporaryFile() as file:

        def trip() -> None:
            for _ in range(50):
                left.send(b"x")
                right.recv(1)
                right.send(b"x")
                left.recv(1)

        def append() -> None:
            file.write(b"x" * 300)
            file.flush()
            os.fsync(file.fileno())

        return Calibration(
            python=_median(_loop),
            hashing=_median(lambda: hashlib.sha256(data).digest()),
            memory=_median(lambda: bytearray(big)),
            loopback=_median(trip) / 50,
            sync=_median(append),
        )


def _loop() -> int:
    total = 0
    for number in range(100_000):
        total += number & 7
    return total


def _median(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        taken.append(1e6 * (time.perf_counter() - began))
    return statistics.median(taken)


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        right, _ = listener.accept()
    for end in (left, right):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return left, right
