"""Four eyes: a move of an alias that one person asks for and another approves.

    request   alias, version, expect, percent      by who wants it
    approve   request                              by somebody else; the last one needed moves it
    deny      request                              by anybody, who asked for it too

All three are rows of the append-only log, and what is open is read from it: there is no second
memory. How many must approve is said by the settings (`approvals` of a protected alias); where they
say nothing it is one.

Invariants:
- nobody approves what they asked for, and nobody twice: not under another token of theirs, and not
  with one that they made for somebody else;
- the last approval and the move are one transaction, so an approved move was made, or lost its
  compare-and-set and is still open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict, NotFound, Refused
from adapterworks.registry.index import log, schema
from adapterworks.registry.releases.types import UNSET, Event, Unset

REQUEST, APPROVE, DENY = "request", "approve", "deny"
_log = schema.log


@dataclass(frozen=True, slots=True)
class Request:
    """A move that was asked for.

    Attributes:
        id: the row of the log that asks for it.
        expect: the version that must hold the alias when it is made.
        approved_by: those who have approved it.
        makers: those who made a token that it was asked for or approved with.
        outcome: `approve` or `deny` once it is decided.
    """

    id: int
    name: str
    version: int
    alias: str
    expect: int | Unset | None
    percent: int
    at: str
    who: str
    why: str
    approved_by: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    outcome: str | None = None


def ask(
    connection: Connection,
    name: str,
    version: int,
    alias: str,
    *,
    who: str,
    why: str,
    expect: int | Unset | None,
    percent: int,
    makers: Sequence[str] = (),
) -> Request:
    """Ask for a move."""
    said = {} if isinstance(expect, Unset) else {"expect": expect}
    event = log.append(
        connection,
        name,
        REQUEST,
        who=who,
        why=why,
        version=version,
        alias=alias,
        percent=percent,
        **said,
        **_made_by(makers),
    )
    return _request(event, ())


def find(connection: Connection, request: int) -> Request:
    """A request with what was decided of it.

    Raises:
        NotFound: there is none of that number.
    """
    row = connection.execute(
        sa.select(_log).where(_log.c.sequence == request, _log.c.kind == REQUEST)
    ).first()
    if row is None:
        raise NotFound(
            f"there is no request {request}", hint="see them: adapters promote --requests"
        )
    event = log.event_of(row)
    return _request(event, _decisions(connection, event.name))


def standing(connection: Connection, *, limit: int) -> list[Request]:
    """The requests that are not decided, newest first."""
    query = sa.select(_log).where(_log.c.kind == REQUEST).order_by(_log.c.sequence.desc())
    decided: dict[str, tuple[Event, ...]] = {}
    found: list[Request] = []
    for row in connection.execute(query):
        event = log.event_of(row)
        if event.name not in decided:
            decided[event.name] = _decisions(connection, event.name)
        request = _request(event, decided[event.name])
        if request.outcome is None:
            found.append(request)
            if len(found) == limit:
                break
    return found


def require_open(request: Request) -> None:
    """Check that a request is not decided.

    Raises:
        Conflict: it is.
    """
    if request.outcome is not None:
        word = "approved" if request.outcome == APPROVE else "denied"
        raise Conflict(
            f"request {request.id} was {word} already", hint=f"see: adapters log {request.name}"
        )


def require_other(request: Request, who: str, makers: Sequence[str] = ()) -> None:
    """Check that somebody may approve a request.

    Args:
        makers: those who made the token that is shown.

    Raises:
        Refused: they asked for it, have approved it, or one of the two tokens was made by whom the
            other is for.
    """
    if who == request.who:
        raise Refused(
            f"request {request.id} is by `{who}`, who cannot approve it",
            hint="somebody else approves it: adapters promote --approve ID",
        )
    if who in request.approved_by:
        raise Refused(
            f"`{who}` has approved request {request.id} already",
            hint="another person's approval is needed",
        )
    if one := next((name for name in makers if name in (request.who, *request.approved_by)), None):
        raise Refused(
            f"the token of `{who}` was made by `{one}`, who has asked or approved already",
            hint="make the token where the registry is: adapters registry token create",
        )
    if who in request.makers:
        raise Refused(
            f"`{who}` made a token that request {request.id} was asked for or approved with",
            hint="another person's approval is needed",
        )


def decide(
    connection: Connection,
    request: Request,
    kind: str,
    *,
    who: str,
    why: str,
    last: bool,
    makers: Sequence[str] = (),
) -> Event:
    """Note an approval or a denial; `last`: it decides the request."""
    return log.append(
        connection,
        request.name,
        kind,
        who=who,
        why=why,
        version=request.version,
        alias=request.alias,
        request=request.id,
        last=last,
        **_made_by(makers),
    )


def _made_by(makers: Sequence[str]) -> dict[str, list[str]]:
    return {"makers": list(makers)} if makers else {}


def _decisions(connection: Connection, name: str) -> tuple[Event, ...]:
    return tuple(log.every(connection, name, kinds=(APPROVE, DENY)))


def _request(event: Event, decisions: tuple[Event, ...]) -> Request:
    assert event.version is not None
    assert event.alias is not None
    of_it = [found for found in decisions if found.data["request"] == event.sequence]
    return Request(
        id=event.sequence,
        name=event.name,
        version=event.version,
        alias=event.alias,
        expect=event.data.get("expect", UNSET),
        percent=event.data["percent"],
        at=event.at,
        who=event.who,
        why=event.why,
        approved_by=tuple(found.who for found in of_it if found.kind == APPROVE),
        makers=tuple(
            maker
            for found in (event, *of_it)
            if found.kind != DENY
            for maker in found.data.get("makers", ())
        ),
        outcome=next((found.kind for found in of_it if found.data["last"]), None),
    )
