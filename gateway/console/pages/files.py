"""Files of rows: the list, sending one, and what is wrong with its lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.responses import Response

from adapterworks.gateway.console.inside import Denied, Through, next_page, part
from adapterworks.gateway.console.page import Page
from adapterworks.gateway.console.visit import Visit, page

_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Files(Page):
    """The list and the form.

    Attributes:
        on: whether the gateway takes files.
        files: as `/v1/files` has them, newest first.
        more: the id after which the next page begins; None if there is none.
        sent: the id of the file that has just come.
        denied: why the last one was refused, with the faults of its lines.
    """

    template: ClassVar[str] = "files.html"
    area: ClassVar[str] = "files"
    on: bool
    files: tuple[dict[str, Any], ...] = ()
    more: str | None = None
    sent: str | None = None
    denied: Denied | None = None


async def _listed(visit: Visit, denied: Denied | None = None) -> Files:
    commands = (
        "curl -H 'Authorization: Bearer '\"$ADAPTERS_KEY\" "
        "-F purpose=fine-tune -F file=@rows.jsonl http://HOST/v1/files",
    )
    try:
        found = await visit.api.get("/v1/files", limit=_PAGE, after=visit.asked("after"))
    except Denied as error:
        if not error.off:
            raise
        return Files(on=False, commands=commands)
    return Files(
        on=True,
        files=tuple(found["data"]),
        more=next_page(found),
        sent=visit.asked("sent"),
        denied=denied,
        commands=commands,
    )


async def list_files(visit: Visit) -> Response:
    """`GET /files`."""
    return visit.show(await _listed(visit))


async def send(visit: Visit) -> Response:
    """`POST /files`: the form's body goes to `/v1/files` as it comes."""
    answer = await visit.api.send_on(visit.request, "/v1/files")
    if answer.status == 200:
        return visit.go("/files", sent=str(answer.values["id"]))
    return visit.show(await _listed(visit, Denied(answer)), answer.status)


async def delete(visit: Visit) -> Response:
    """`POST /files/{file}/delete`."""
    await visit.api.delete(f"/v1/files/{part(visit.request.path_params['file'])}")
    return visit.go("/files")


async def content(visit: Visit) -> Through:
    """`GET /files/{file}/content`: the bytes, as a download."""
    file = part(visit.request.path_params["file"])
    return visit.api.through(visit.request, f"/v1/files/{file}/content")


ROUTES = [
    page("/files", list_files),
    page("/files", send, method="POST"),
    page("/files/{file}/content", content),
    page("/files/{file}/delete", delete, method="POST"),
]
