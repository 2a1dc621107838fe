"""`/v1/files` and `/v1/uploads`: a tenant's files, looked at while they arrive."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adapterworks.gateway.files.objects import (
    FORM,
    AskedCompletion,
    AskedFile,
    AskedUpload,
    asked_file,
    file_object,
    part_object,
    upload_object,
)
from adapterworks.gateway.files.receive import Received, received
from adapterworks.gateway.files.rows import RowCheck, check_of
from adapterworks.gateway.files.shown import ShownLine, shown
from adapterworks.gateway.http.routes.common import (
    answer,
    body_of,
    receipt_of,
    room_of,
    tenant_of,
    writer_of,
)
from adapterworks.gateway.http.routes.pages import LIMIT_OF_FILES, listed, number, one_of
from adapterworks.gateway.jobs.room import Room
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.errors import InvalidField, NoSuchThing
from adapterworks.gateway.request.leaving import unless_left
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.jobs.files import File, NewFile
from adapterworks.registry.jobs.uploads import Upload

_PART_BYTES = 64 * 1024 * 1024
_LEFT = 499
_LINES, _MOST_LINES, _MOST_AFTER = 20, 100, 10**9 - 1


def routes() -> list[Route]:
    """Files and uploads."""
    return [
        Route("/v1/files", create, methods=["POST"]),
        Route("/v1/files", list_files, methods=["GET"]),
        Route("/v1/files/{file}", retrieve, methods=["GET"]),
        Route("/v1/files/{file}", delete, methods=["DELETE"]),
        Route("/v1/files/{file}/content", content, methods=["GET"]),
        Route("/v1/files/{file}/lines", lines, methods=["GET"]),
        Route("/v1/uploads", begin, methods=["POST"]),
        Route("/v1/uploads/{upload}/parts", add_part, methods=["POST"]),
        Route("/v1/uploads/{upload}/complete", complete, methods=["POST"]),
        Route("/v1/uploads/{upload}/cancel", cancel, methods=["POST"]),
    ]


async def create(request: Request) -> Response:
    """`POST /v1/files`.

    Raises:
        InvalidLines: lines cannot be used for the purpose; all of them are named.
        OverQuota, TooLarge, TooSlow, InvalidField: as they say.
    """
    tenant, room = writer_of(request), room_of(request)
    quota = room.table.tenant_bytes
    await asyncio.to_thread(room.files.require_room, tenant.id, 0, quota)

    def check(fields: dict[str, str]) -> RowCheck | None:
        return check_of(asked_file(fields).purpose) if "purpose" in fields else None

    async with _file_of(request, room, "file", check) as got:
        asked = asked_file(got.fields)
        file = await asyncio.to_thread(_keep, room, tenant.id, got, asked)
    return answer(request, file_object(file))


def _file_of(request: Request, room: Room, name: str, check: Any) -> Any:
    return received(
        request,
        name=name,
        known=FORM if name == "file" else frozenset(),
        most=room.table.file_bytes if name == "file" else _PART_BYTES,
        seconds=room.table.upload_seconds,
        check_of=check,
        staging=room.staging,
    )


def _keep(room: Room, tenant: str, got: Received, asked: AskedFile) -> File:
    return room.files.put(
        NewFile(
            tenant=tenant,
            purpose=asked.purpose,
            filename=got.filename,
            path=got.path,
            blob=got.digest,
            size=got.size,
            rows=got.facts.rows,
            kind=got.facts.kind,
            seconds=asked.seconds,
        ),
        quota=room.table.tenant_bytes,
    )


async def list_files(request: Request) -> Response:
    """`GET /v1/files`: newest first unless `order` is `asc`."""
    tenant, room = tenant_of(request), room_of(request)
    query = request.query_params
    files, more = await asyncio.to_thread(
        room.files.listed,
        tenant.id,
        purpose=query.get("purpose"),
        after=query.get("after"),
        limit=number(request, "limit", LIMIT_OF_FILES, most=LIMIT_OF_FILES),
        newest_first=one_of(request, "order", ("desc", "asc")) == "desc",
    )
    return listed(request, [file_object(file) for file in files], more)


async def retrieve(request: Request) -> Response:
    """`GET /v1/files/{file}`."""
    return answer(request, file_object(await _own(request)))


async def delete(request: Request) -> Response:
    """`DELETE /v1/files/{file}`."""
    tenant, room = writer_of(request), room_of(request)
    file = await _own(request)
    await asyncio.to_thread(room.files.delete, file.id, tenant.id)
    return answer(request, {"id": file.id, "object": "file", "deleted": True})


async def content(request: Request) -> Response:
    """`GET /v1/files/{file}/content`: the bytes as they came."""
    room, file = room_of(request), await _own(request)
    headers = {**receipt_of(request).headers(), "content-length": str(file.size)}
    return StreamingResponse(
        room.files.chunks(file), media_type="application/octet-stream", headers=headers
    )


async def lines(request: Request) -> Response:
    """`GET /v1/files/{file}/lines`: a page of its lines, for people to read.

    Raises:
        Unavailable: too many files wait to be looked through.
    """
    room, file = room_of(request), await _own(request)
    limit = number(request, "limit", _LINES, most=_MOST_LINES)
    after = number(request, "after", 0, most=_MOST_AFTER)

    def read() -> tuple[list[ShownLine], bool]:
        return shown(room.files.chunks(file), after=after, limit=limit)

    page = await unless_left(request.receive, room.scans.run(file.tenant, read))
    if page is None:
        return Response(status_code=_LEFT)  # nobody reads it
    found, more = page
    data = [{"object": "file.line", "id": str(line.line), **asdict(line)} for line in found]
    return listed(request, data, more)


async def _own(request: Request) -> File:
    tenant, room = tenant_of(request), room_of(request)
    try:
        return await asyncio.to_thread(room.files.get, request.path_params["file"], tenant.id)
    except NotFound as error:
        raise NoSuchThing(error.message, hint=error.hint) from error


async def begin(request: Request) -> Response:
    """`POST /v1/uploads`."""
    tenant, room = writer_of(request), room_of(request)
    asked = checked(AskedUpload, (await body_of(request)).values)
    if asked.bytes > room.table.file_bytes:
        raise InvalidField(f"a file may have {room.table.file_bytes} bytes", param="bytes")
    upload = await asyncio.to_thread(
        functools.partial(
            room.uploads.begin,
            tenant.id,
            purpose=asked.purpose,
            filename=asked.filename,
            size=asked.bytes,
            keep_seconds=asked.seconds,
            quota=room.table.tenant_bytes,
        )
    )
    return answer(request, upload_object(upload, None))


async def add_part(request: Request) -> Response:
    """`POST /v1/uploads/{upload}/parts`: at most 64 MiB."""
    tenant, room = writer_of(request), room_of(request)
    upload = await _upload(request)
    async with _file_of(request, room, "data", lambda fields: None) as got:
        part = await asyncio.to_thread(
            room.uploads.add, upload.id, tenant.id, got.path, got.digest, got.size
        )
    return answer(request, part_object(part))


async def complete(request: Request) -> Response:
    """`POST /v1/uploads/{upload}/complete`: the parts become a file, if its lines can be used."""
    writer_of(request)
    room = room_of(request)
    asked = checked(AskedCompletion, (await body_of(request)).values)
    upload = await _upload(request)
    ended, file = await room.joiner.join(upload, asked.part_ids, asked.md5)
    return answer(request, upload_object(ended, file))


async def cancel(request: Request) -> Response:
    """`POST /v1/uploads/{upload}/cancel`."""
    tenant, room = writer_of(request), room_of(request)
    upload = await _upload(request)
    upload = await asyncio.to_thread(room.uploads.cancel, upload.id, tenant.id)
    return answer(request, upload_object(upload, None))


async def _upload(request: Request) -> Upload:
    tenant, room = tenant_of(request), room_of(request)
    try:
        return await asyncio.to_thread(room.uploads.get, request.path_params["upload"], tenant.id)
    except NotFound as error:
        raise NoSuchThing(error.message) from error
