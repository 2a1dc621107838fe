"""`/v1/fine_tuning/jobs`: rows of the queue in OpenAI's words, and deleting one's own releases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from pydantic_core import to_json
from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adapterworks.gateway.http.routes.common import (
    answer,
    body_of,
    gateway_of,
    receipt_of,
    room_of,
    shown_key,
    streams_of,
    tenant_of,
    writer_of,
)
from adapterworks.gateway.http.routes.pages import listed, number
from adapterworks.gateway.jobs.creating import create
from adapterworks.gateway.jobs.objects import (
    AskedJob,
    checkpoint_object,
    event_object,
    job_object,
)
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.errors import NoSuchThing
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.refs import parse_ref
from adapterworks.registry.jobs import events, lookup, queue
from adapterworks.registry.jobs.fine_tuning import REINFORCEMENT
from adapterworks.registry.jobs.job import FINE_TUNING, Job

_JOBS = "/v1/fine_tuning/jobs"
_JOB = _JOBS + "/{job}"
_MOST = 100
_FOLLOW_S = 0.5
# A stream says something at least this often, so that nobody in between takes it for dead.
_ALIVE_S = 15.0


def routes() -> list[Route]:
    """Jobs, their events and checkpoints; permissions, which there are none of; own models."""
    permissions = "/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions"
    return [
        Route(_JOBS, create_job, methods=["POST"]),
        Route(_JOBS, list_jobs, methods=["GET"]),
        Route(_JOB, retrieve, methods=["GET"]),
        Route(f"{_JOB}/cancel", _act(queue.cancel), methods=["POST"]),
        Route(f"{_JOB}/pause", _act(queue.pause), methods=["POST"]),
        Route(f"{_JOB}/resume", _act(queue.resume), methods=["POST"]),
        Route(f"{_JOB}/events", list_events, methods=["GET"]),
        Route(f"{_JOB}/checkpoints", list_checkpoints, methods=["GET"]),
        Route(permissions, no_permissions, methods=["GET", "POST"]),
        Route(permissions + "/{permission}", no_permissions, methods=["DELETE"]),
        Route("/v1/models/{model:path}", delete_model, methods=["DELETE"]),
    ]


async def create_job(request: Request) -> Response:
    """`POST /v1/fine_tuning/jobs`.

    Raises:
        InvalidField, NotFound, Conflict, TooSlow: as `create` says.
        Unavailable: too many others' rows are to be looked through.
    """
    tenant, gateway, room = writer_of(request), gateway_of(request), room_of(request)
    body = await body_of(request)
    given = {name: value for name, value in body.values.items() if value is not None}
    asked = checked(AskedJob, given)
    make = partial(create, gateway, room, tenant, asked)
    reads = asked.method is not None and asked.method.type == REINFORCEMENT
    job = await (room.scans.run(tenant.id, make) if reads else asyncio.to_thread(make))
    return answer(request, job_object(job))


async def list_jobs(request: Request) -> Response:
    """`GET /v1/fine_tuning/jobs`: newest first; `metadata[key]=value`, `metadata=null`."""
    tenant, room = tenant_of(request), room_of(request)
    query = request.query_params
    labels: dict[str, str] | None = {
        name[len("metadata[") : -1]: value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    if not labels and query.get("metadata") != "null":
        labels = None
    limit = number(request, "limit", 20, most=_MOST)

    def read() -> tuple[list[Job], bool]:
        with room.database.read() as connection:
            return lookup.listed(
                connection,
                tenant=tenant.id,
                kind=FINE_TUNING,
                labels=labels,
                after=query.get("after"),
                limit=limit,
            )

    jobs, more = await asyncio.to_thread(read)
    return listed(request, [job_object(job) for job in jobs], more)


async def retrieve(request: Request) -> Response:
    """`GET /v1/fine_tuning/jobs/{job}`."""
    return answer(request, job_object(await _own(request)))


def _act(change: Callable[..., Job]) -> Callable[[Request], Any]:
    """Cancel, pause or resume."""

    async def act(request: Request) -> Response:
        writer_of(request)
        room, job = room_of(request), await _own(request)

        def write() -> Job:
            now = time.time()
            with room.database.write() as connection:
                changed = change(connection, job.id, now=now)
                said = f"{change.__name__} was asked for"
                events.add(connection, job.id, said, now)
                return changed

        return answer(request, job_object(await asyncio.to_thread(write)))

    return act


async def list_events(request: Request) -> Response:
    """`GET …/events`: newest first; with `stream=true` as they happen, oldest first, to the end."""
    job, room = await _own(request), room_of(request)
    if request.query_params.get("stream") == "true":
        streams_of(request).require(job.tenant)
        return StreamingResponse(
            _streamed(request, job),
            media_type="text/event-stream",
            headers={**receipt_of(request).headers(), "cache-control": "no-cache"},
        )
    after, limit = request.query_params.get("after"), number(request, "limit", 20, most=_MOST)

    def read() -> tuple[list[events.Event], bool]:
        with room.database.read() as connection:
            return events.newest(connection, job.id, after=after, limit=limit)

    found, more = await asyncio.to_thread(read)
    return listed(request, [event_object(event) for event in found], more)


async def _streamed(request: Request, job: Job) -> AsyncIterator[bytes]:
    with streams_of(request).open(job.tenant):
        async for chunk in _events(request, job):
            yield chunk


async def _events(request: Request, job: Job) -> AsyncIterator[bytes]:
    room, seen, said = room_of(request), 0, time.monotonic()

    def read() -> tuple[bool, list[events.Event]]:
        with room.database.read() as connection:
            # In this order: what was written before the end is told.
            ended = lookup.get(connection, job.id).ended
            return ended, events.since(connection, job.id, seen)

    while True:
        ended, later = await asyncio.to_thread(read)
        for event in later:
            seen, said = event.sequence, time.monotonic()
            yield b"data: " + to_json(event_object(event)) + b"\n\n"
        if ended:
            yield b"data: [DONE]\n\n"
            return
        if gateway_of(request).draining or not _may_read_on(request):
            return
        if time.monotonic() - said > _ALIVE_S:
            said = time.monotonic()
            yield b": alive\n\n"
        await asyncio.sleep(_FOLLOW_S)


def _may_read_on(request: Request) -> bool:
    """Whether the key that the caller showed is good yet."""
    try:
        gateway_of(request).authenticate(shown_key(request))
    except Unauthorized:
        return False
    return True


async def list_checkpoints(request: Request) -> Response:
    """`GET …/checkpoints`: newest first."""
    job, room = await _own(request), room_of(request)
    after, limit = request.query_params.get("after"), number(request, "limit", 10, most=_MOST)

    def read() -> tuple[list[events.Checkpoint], bool]:
        with room.database.read() as connection:
            return events.checkpoints(connection, job.id, after=after, limit=limit)

    found, more = await asyncio.to_thread(read)
    return listed(request, [checkpoint_object(job, point) for point in found], more)


async def no_permissions(request: Request) -> Response:
    """Checkpoints are shared with nobody here.

    Raises:
        NoSuchThing: always.
    """
    tenant_of(request)
    raise NoSuchThing(
        "checkpoints have no permissions here",
        hint="a release is shared by allowing its name: `adapters tenant set NAME --allow …`",
    )


async def delete_model(request: Request) -> Response:
    """`DELETE /v1/models/{model}`: a release that one's own job has made.

    Raises:
        NotFound: it is none of the tenant's own.
        Conflict: an alias points to it.
    """
    tenant, gateway = writer_of(request), gateway_of(request)
    name = request.path_params["model"]
    try:
        ref = parse_ref(name)
    except InvalidInput:
        raise missing(name) from None
    if not tenant.owns(ref.name) or ref.alias is not None:
        raise missing(name)
    try:
        found = await asyncio.to_thread(gateway.registry.resolve, ref)
    except NotFound:
        raise missing(name) from None
    who = f"tenant {tenant.name}"
    await asyncio.to_thread(gateway.registry.delete, found.name, found.version, who=who)
    gateway.resolver.forget()
    return answer(request, {"id": name, "object": "model", "deleted": True})


async def _own(request: Request) -> Job:
    tenant, room = tenant_of(request), room_of(request)

    def read(connection: Connection) -> Job:
        return lookup.of_tenant(connection, request.path_params["job"], tenant.id, FINE_TUNING)

    def opened() -> Job:
        with room.database.read() as connection:
            return read(connection)

    try:
        return await asyncio.to_thread(opened)
    except NotFound as error:
        raise NoSuchThing(error.message, hint=error.hint) from error
