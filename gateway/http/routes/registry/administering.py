"""What administrators change: deletions, revocations, settings, tokens; and the trail of it all."""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import MOST, USUAL, find
from adapterworks.gateway.http.routes.registry.writing import name_of, version_of
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.tokens import trail
from adapterworks.gateway.tokens.roles import role_of
from adapterworks.registry.lifecycle.protection import Settings


def settings(asked: Asked) -> dict[str, Any]:
    """The registry's settings: which aliases are protected, and by what."""
    return {
        "object": "registry.settings",
        **asked.registry.protection.settings().model_dump(mode="json"),
    }


def keep_settings(asked: Asked, body: bodies.NewSettings) -> dict[str, Any]:
    """Other settings hold from now on."""
    try:
        given = Settings.model_validate(body.settings)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:64] for part in ("settings", *fault["loc"]))
        raise InvalidField(f"`{place}`: {fault['msg']}", param="settings") from error
    event = asked.registry.protection.keep(given, who=asked.caller.person, why=body.why)
    return {"object": "registry.event", **to_jsonable_python(event)}


def delete(asked: Asked, body: bodies.Deletion) -> dict[str, Any]:
    """A version becomes a tombstone."""
    asked.registry.delete(
        name_of(asked),
        version_of(asked),
        with_aliases=body.with_aliases,
        who=asked.caller.person,
        why=body.why,
    )
    row = asked.registry.version(name_of(asked), version_of(asked))
    return {"object": "registry.version", **to_jsonable_python(row)}


def revoke(asked: Asked, body: bodies.Revocation) -> dict[str, Any]:
    """What a key, or every one, signed of a release up to now does not count."""
    resolved = find(asked.registry, asked.path("ref"))
    event = asked.registry.signatures.revoke(
        resolved.ref, body.key, who=asked.caller.person, why=body.why
    )
    return {"object": "registry.event", **to_jsonable_python(event)}


def tokens(asked: Asked) -> dict[str, Any]:
    """Every token by its name; their texts are nowhere."""
    rows = [
        {"object": "registry.token", **dataclasses.asdict(row), "state": row.state}
        for row in asked.desk.tokens.list()
    ]
    return {"object": "list", "data": rows, "has_more": False}


def create_token(asked: Asked, body: bodies.NewToken) -> dict[str, Any]:
    """A new token, whose text is in this answer and nowhere else."""
    expires = None if body.seconds is None else time.time() + body.seconds
    caller = asked.caller
    made = asked.desk.tokens.create(
        body.name,
        role_of(body.role),
        who=caller.person,
        person=body.person,
        expires=expires,
        token=caller.id,
        makers=(caller.person, *caller.makers),
    )
    shown = {
        "name": body.name,
        "person": body.person or body.name,
        "role": body.role,
        "id": made.id,
        "expires": expires,
    }
    return {"object": "registry.token", **shown, "token": made.text}


def revoke_token(asked: Asked, body: bodies.Nothing) -> dict[str, Any]:
    """A token is refused from now on."""
    caller = asked.caller
    row = asked.desk.tokens.revoke(asked.path("token"), who=caller.person, token=caller.id)
    return {"object": "registry.token", **dataclasses.asdict(row), "state": row.state}


def trail_of_changes(asked: Asked) -> dict[str, Any]:
    """A page of what was changed over HTTP, oldest first."""
    limit, text = number(asked.request, "limit", USUAL, most=MOST), asked.query("after") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidField("`after` is not a number", param="after")
    found = trail.entries(asked.registry.database, after=int(text))
    rows = list(itertools.islice(found, limit + 1))
    data = [{"id": str(row.sequence), **dataclasses.asdict(row)} for row in rows[:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(rows) > limit,
    }
