"""What a gateway with `[jobs]` does by itself, beside answering."""

from __future__ import annotations

import asyncio

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.batching import run_batches_for_ever
from adapterworks.gateway.jobs.proving import prove_for_ever
from adapterworks.gateway.jobs.room import open_room


def start_jobs(gateway: Gateway) -> None:
    """Begin to prove what workers build and to run batches; ends when the gateway stops."""
    if gateway.config.jobs.on:
        room = open_room(gateway)
        for work in (prove_for_ever, run_batches_for_ever):
            gateway.background.add(asyncio.create_task(work(gateway, room), name=work.__name__))
