"""The way into the registry's paths: who asks, whether the role is enough, then the answer.

Invariants:
- what changes something is in the trail before it is done, and what came of it after;
- a path exists only by its line in the table (`table.py`), so there is none without a role;
- the role is looked at before anything of the request is: who may not do it learns nothing by it;
- names, versions and bytes that do not exist are 404 with the code `not_found`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.http.routes.common import not_let_in, receipt_of, shown_key
from adapterworks.gateway.http.routes.registry.desk import Asked, Desk
from adapterworks.gateway.request.body import parse_body, read_body
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.errors import Forbidden, NoSuchThing, shape_of
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tokens import trail
from adapterworks.gateway.tokens.issuer import NoRole
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import Caller
from adapterworks.manifests.errors import AdapterworksError, NotFound

PREFIX = "/v1/registry"


@dataclass(frozen=True, slots=True)
class Reading:
    """A path that is read with GET: what it is answered with, in a thread."""

    path: str
    role: Role
    answer: Callable[[Asked], Any]
    method: ClassVar[str] = "GET"
    body: ClassVar[type[Table] | None] = None

    async def answered(self, asked: Asked) -> Any:
        """What is answered."""
        return await asyncio.to_thread(self.answer, asked)


@dataclass(frozen=True, slots=True)
class Sending:
    """A path that takes bytes with PUT."""

    path: str
    role: Role
    answer: Callable[[Asked], Awaitable[Any]]
    method: ClassVar[str] = "PUT"
    body: ClassVar[type[Table] | None] = None

    async def answered(self, asked: Asked) -> Any:
        """What is answered."""
        return await self.answer(asked)


@dataclass(frozen=True, slots=True)
class Writing:
    """A path that changes something with POST: its body is a table, and the trail has it.

    Attributes:
        action: as the trail calls it.
    """

    path: str
    role: Role
    action: str
    body: type[Table]
    answer: Callable[[Asked, Any], Any]
    method: ClassVar[str] = "POST"

    async def answered(self, asked: Asked) -> Any:
        """What is answered. It is in the trail before it is done."""
        http = asked.desk.http
        given = parse_body(
            await read_body(asked.request, http.body_limit, http.body_seconds)
        ).values
        body = checked(self.body, given)
        said = {key: value for key, value in given.items() if key not in _LONG}
        caller, subject = asked.caller, _subject(asked.request.url.path)
        of_trail = trail.Asked(caller.name, caller.id, self.action, subject, said)
        database = asked.registry.database

        def do() -> Any:
            with database.write() as connection:
                sequence = trail.begun(connection, of_trail)
            status = 500
            try:
                answer = self.answer(asked, body)
                status = trail.DONE
                return answer
            except NotFound:
                status = shape_of(NoSuchThing("")).status
                raise
            except AdapterworksError as error:
                status = shape_of(error).status
                raise
            finally:
                with database.write() as connection:
                    trail.ended(connection, sequence, of_trail, status)

        return await asyncio.to_thread(do)


def _subject(path: str) -> str:
    """What a path is about. Somebody who revokes a token may write its text where its name goes,
    rightly or not: of that no more than its beginning stays."""
    parts = path.removeprefix(PREFIX + "/").split("/")
    return "/".join(f"{part[:12]}…" if _KEY.match(part) else part for part in parts)


_KEY = re.compile(r"awr?-[a-z2-7]{8}-[a-z2-7]{20}")
Entry = Reading | Sending | Writing
# Fields of bodies that would fill the trail, or are people's texts: what they come to is elsewhere.
_LONG = ("record", "bundle", "public_key", "data", "correction", "comment")


def routes(table: Sequence[Entry]) -> list[Route]:
    """The paths of a table."""
    return [Route(PREFIX + entry.path, _way(entry), methods=[entry.method]) for entry in table]


def _way(entry: Entry) -> Any:
    async def answer(request: Request) -> Response:
        asked = await let_in(request, entry.role)
        try:
            given = await entry.answered(asked)
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
        Unavailable: it is an issuer's, which cannot be asked for its keys.
    """
    desk: Desk = request.app.state.desk
    shown = shown_key(request)
    try:
        caller = await desk.called(shown)
    except Unauthorized:
        not_let_in(request, shown)
        raise
    except NoRole as error:
        raise Forbidden(error.message, hint=error.hint) from error
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
