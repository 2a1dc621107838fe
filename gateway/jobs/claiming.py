"""How a gateway takes jobs of its lanes from the queue and holds them."""

from __future__ import annotations

import os
import socket
import time
import uuid

from adapterworks.gateway.jobs.room import Room
from adapterworks.registry.jobs import queue
from adapterworks.registry.jobs.job import Claim, Job

LEASE_S = queue.LEASE_S


def holder() -> str:
    """Who runs it: unique among all gateways that may be alive."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def claim(room: Room, lanes: list[str], name: str) -> tuple[Job, Claim] | None:
    """The next job of these lanes; a read, if there is none."""
    now = time.time()
    with room.database.read() as connection:
        if not queue.is_something_to_do(connection, lanes, now=now):
            return None
    with room.database.write() as connection:
        return queue.claim(connection, lanes, holder=name, now=now, seconds=LEASE_S)


def renew(room: Room, held: Claim) -> str:
    """Go on holding a job; what its owner asks for.

    Raises:
        Lost: it is not the claim's any more.
    """
    with room.database.write() as connection:
        return queue.renew(connection, held, now=time.time(), seconds=LEASE_S)
