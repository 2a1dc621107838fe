"""`/v1/batches`: requests of a file, answered when there is room."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.files.rows import REQUESTS
from adapterworks.gateway.http.routes.common import (
    body_of,
    receipt_of,
    room_of,
    tenant_of,
    writer_of,
)
from adapterworks.gateway.http.routes.pages import listed, number
from adapterworks.gateway.jobs.batches import AskedBatch, batch_object, counts
from adapterworks.gateway.jobs.room import Room
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.errors import InvalidField, NoSuchThing
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.jobs import lookup, putting, queue
from adapterworks.registry.jobs.job import BATCH, BATCH_LANE, Job, NewJob

_MOST = 100


def routes() -> list[Route]:
    """Create, list, retrieve, cancel."""
    return [
        Route("/v1/batches", create, methods=["POST"]),
        Route("/v1/batches", list_batches, methods=["GET"]),
        Route("/v1/batches/{batch}", retrieve, methods=["GET"]),
        Route("/v1/batches/{batch}/cancel", cancel, methods=["POST"]),
    ]


async def create(request: Request) -> Response:
    """`POST /v1/batches`.

    Raises:
        InvalidField: the file is none of the tenant's own for batches, or a field is out of range.
        Conflict: the tenant has as many batches as it may.
    """
    tenant, room = writer_of(request), room_of(request)
    body = await body_of(request)
    given = {name: value for name, value in body.values.items() if value is not None}
    asked = checked(AskedBatch, given)
    return await _answer(request, await asyncio.to_thread(_create, room, tenant, asked))


def _create(room: Room, tenant: Tenant, asked: AskedBatch) -> Job:
    try:
        file = room.files.get(asked.input_file_id, tenant.id)
    except NotFound as error:
        raise InvalidField(error.message, param="input_file_id", hint=error.hint) from error
    if file.purpose != "batch" or file.kind != REQUESTS:
        raise InvalidField(
            f"`{file.id}` was uploaded for `{file.purpose}`",
            param="input_file_id",
            hint="upload it with `purpose=batch`",
        )
    keep = asked.output_expires_after
    arguments = {
        "file": file.id,
        "blob": file.blob,
        "rows": file.rows,
        "endpoint": asked.endpoint,
        "output_seconds": None if keep is None else keep.seconds,
        "name": file.filename,
    }
    new = NewJob(
        BATCH,
        tenant.id,
        BATCH_LANE,
        arguments,
        weight=tenant.weight,
        most_running=room.table.max_running,
        labels=asked.metadata or {},
    )
    with room.database.write() as connection:
        job = putting.put(connection, new, now=time.time(), most_queued=room.table.max_queued)
        putting.hold_files(connection, job.id, [file.blob])
        return job


async def list_batches(request: Request) -> Response:
    """`GET /v1/batches`: newest first."""
    tenant, room = tenant_of(request), room_of(request)
    after, limit = request.query_params.get("after"), number(request, "limit", 20, most=_MOST)

    def read() -> tuple[list[dict[str, Any]], bool]:
        with room.database.read() as connection:
            jobs, more = lookup.listed(
                connection, tenant=tenant.id, kind=BATCH, after=after, limit=limit
            )
            return [batch_object(job, counts(connection, job)) for job in jobs], more

    return listed(request, *await asyncio.to_thread(read))


async def retrieve(request: Request) -> Response:
    """`GET /v1/batches/{batch}`."""
    return await _answer(request, await _own(request))


async def cancel(request: Request) -> Response:
    """`POST /v1/batches/{batch}/cancel`: what is answered by then is in the output file."""
    writer_of(request)
    room, job = room_of(request), await _own(request)

    def write() -> Job:
        with room.database.write() as connection:
            return queue.cancel(connection, job.id, now=time.time())

    return await _answer(request, await asyncio.to_thread(write))


async def _own(request: Request) -> Job:
    tenant, room = tenant_of(request), room_of(request)

    def read() -> Job:
        with room.database.read() as connection:
            return lookup.of_tenant(connection, request.path_params["batch"], tenant.id, BATCH)

    try:
        return await asyncio.to_thread(read)
    except NotFound as error:
        raise NoSuchThing(error.message, hint=error.hint) from error


async def _answer(request: Request, job: Job) -> Response:
    room = room_of(request)

    def read() -> dict[str, Any]:
        with room.database.read() as connection:
            return batch_object(job, counts(connection, job))

    values = await asyncio.to_thread(read)
    return JSONResponse(values, headers=receipt_of(request).headers())
