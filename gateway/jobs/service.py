"""What a gateway with `[jobs]` does by itself, beside answering."""

from __future__ import annotations

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.proving import prove_for_ever
from adapterworks.gateway.jobs.room import open_room
from adapterworks.gateway.jobs.sharing import Batches
from adapterworks.gateway.supervision.supervisor import Worker


def start_jobs(gateway: Gateway) -> None:
    """Begin to prove what workers build and to run batches; ends when the gateway stops."""
    if not gateway.config.jobs.on:
        return
    room = open_room(gateway)

    async def prove(worker: Worker) -> None:
        await prove_for_ever(gateway, room)

    async def run_batches(worker: Worker) -> None:
        await Batches(gateway, room).run_for_ever()

    gateway.supervisor.task("proofs of jobs", prove)
    gateway.supervisor.task("batches", run_batches)
