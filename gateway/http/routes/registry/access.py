"""The way into the registry's paths: who asks, whether the role is enough, then the answer.

Invariants:
- a path exists only by its line in the table (`table.py`), so there is none without a role;
- the role is looked at before anything of the request is: who may not do it learns nothing by it;
- names, versions and bytes that do not exist are 404 with the code `not_found`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.http.routes.common import not_let_in, receipt_of, shown_key
from adapterworks.gateway.http.routes.registry.desk import Asked, Desk
from adapterworks.gateway.request.errors import Forbidden, NoSuchThing
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Caller
from adapterworks.manifests.errors import NotFound

PREFIX = "/v1/registry"
Answer = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """A path that is read with GET: what it is answered with, in a thread."""

    path: str
    role: Role
    answer: Answer

    @property
    def method(self) -> str:
        """As HTTP has it."""
        return "GET"


def routes(table: Sequence[Reading]) -> list[Route]:
    """The paths of a table."""
    return [Route(PREFIX + entry.path, _reading(entry), methods=["GET"]) for entry in table]


def _reading(entry: Reading) -> Any:
    async def answer(request: Request) -> Response:
        asked = await let_in(request, entry.role)
        try:
            given = await asyncio.to_thread(entry.answer, asked)
        except NotFound as error:
            raise NoSuchThing(error.message, hint=error.hint) from error
        if isinstance(given, Response):
            return given
        return JSONResponse(given, headers=receipt_of(request).headers())

    return answer


async def let_in(request: Request, role: Role) -> Asked:
    """Who asks, if it may.

    Raises:
        Unauthorized: no token, or one that does not work.
        Forbidden: its role is too low.
    """
    desk: Desk = request.app.state.desk
    shown = shown_key(request)
    try:
        caller = await asyncio.to_thread(desk.tokens.caller, shown, desk.anonymous)
    except Unauthorized:
        not_let_in(request, shown)
        raise
    receipt_of(request).key_id = caller.id
    require(caller, role)
    return Asked(request, caller, desk)


def require(caller: Caller, role: Role) -> None:
    """Check that a caller may do what asks for a role.

    Raises:
        Forbidden: it may not.
    """
    if caller.role < role:
        raise Forbidden(
            f"`{caller.name}` is a {caller.role.word}, and this asks for a {role.word}",
            hint="ask whoever runs this registry for a token of that role",
        )
