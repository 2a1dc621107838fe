"""Moves that somebody has asked for, and another approves or denies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from adapterworks.gateway.console.inside import part
from adapterworks.gateway.console.page import Page, command
from adapterworks.gateway.console.visit import Visit, form_of, page

_REQUESTS = "/v1/registry/requests"
_DECISIONS = {"approve": "approval", "deny": "denial"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests(Page):
    """What waits for a second person.

    Attributes:
        requests: as `/v1/registry/requests` has them, newest first.
    """

    template: ClassVar[str] = "requests.html"
    area: ClassVar[str] = "adapters"
    requests: tuple[dict[str, Any], ...]


async def show(visit: Visit) -> Response:
    """`GET /requests`."""
    found = await visit.api.get(_REQUESTS)
    lines = [command("adapters", "promote", "--requests")]
    for asked in found["data"][:1]:
        lines.append(command("adapters", "promote", "--approve", str(asked["id"])))
    return visit.show(Requests(requests=tuple(found["data"]), commands=tuple(lines)))


async def decide(visit: Visit) -> Response:
    """`POST /requests/{request}/{decision}`: the API says who may."""
    path = visit.request.path_params
    if path["decision"] not in _DECISIONS:
        raise HTTPException(404)
    form = await form_of(visit.request)
    decision = _DECISIONS[path["decision"]]
    await visit.api.post(
        f"{_REQUESTS}/{part(path['request'])}/{decision}", {"why": form.get("why", "")}
    )
    return visit.go("/requests")


ROUTES = [
    page("/requests", show),
    page("/requests/{request}/{decision}", decide, method="POST"),
]
