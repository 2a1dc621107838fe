"""What publishers and promoters change: versions, aliases, tags, signatures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import MOST, find
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.tenants.audit import key_makers
from adapterworks.gateway.tokens.tokens import TENANT_PREFIX
from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.refs import check_alias, check_name
from adapterworks.registry.lifecycle.approval import Request
from adapterworks.registry.releases.record import NotARecord, read_record
from adapterworks.registry.releases.types import Unset

_MOST_NOTE = 256 << 10  # the log keeps it for ever, and a release is shown with a hundred of them
# What the log says of every event itself.
_OWN = frozenset(("self", "name", "version", "kind", "alias", "who", "why", "connection"))


def publish(asked: Asked, body: bodies.Publication) -> dict[str, Any]:
    """A release whose bytes were sent becomes the next version of its name."""
    data = body.record.encode()
    try:
        release = read_record(data)
    except NotARecord as error:
        raise InvalidField(f"`record` is none: {error.message}", param="record") from error
    if canonical_json(release.to_json()) != data:
        raise InvalidField("`record` is not canonical JSON", param="record")
    if release.name != name_of(asked):
        raise InvalidField(f"the record is of `{release.name[:64]}`", param="record")
    named = [(entry.digest, entry.size) for entry in release.files.values()]
    asked.desk.sent.require(asked.caller.id, named)
    made = asked.registry.publish_stored(
        release, built=body.built, who=asked.caller.person, why=body.why
    )
    return {"object": "registry.published", **to_jsonable_python(made)}


def move(asked: Asked, body: bodies.Move) -> dict[str, Any]:
    """An alias moves to a version, or tries it on some requests, by compare-and-set."""
    moved = asked.registry.promote(
        name_of(asked),
        body.version,
        check_alias(asked.path("alias")),
        who=asked.caller.person,
        why=body.why,
        expect=body.expected,
        weight=body.percent,
        since=body.since,
    )
    return {"object": "registry.move", **to_jsonable_python(moved)}


def request(asked: Asked, body: bodies.Wish) -> dict[str, Any]:
    """A move is asked for; another person approves it."""
    made = asked.registry.approvals.request(
        name_of(asked),
        body.version,
        check_alias(asked.path("alias")),
        who=asked.caller.person,
        why=body.why,
        expect=body.expected,
        weight=body.percent,
        makers=_makers(asked),
    )
    return request_object(made)


def approve(asked: Asked, body: bodies.Decision) -> dict[str, Any]:
    """A move that another person asked for is approved; the last approval needed makes it."""
    made = asked.registry.approvals.approve(
        _request(asked), who=asked.caller.person, why=body.why, makers=_makers(asked)
    )
    return request_object(made)


def deny(asked: Asked, body: bodies.Decision) -> dict[str, Any]:
    """It is decided that a move is not made."""
    return request_object(
        asked.registry.approvals.deny(_request(asked), who=asked.caller.person, why=body.why)
    )


def requests(asked: Asked) -> dict[str, Any]:
    """The moves that were asked for and are not decided, newest first."""
    rows = asked.registry.approvals.requests(limit=MOST)
    return {"object": "list", "data": [request_object(row) for row in rows], "has_more": False}


def request_object(request: Request) -> dict[str, Any]:
    """A request; without `expect` where nothing was expected."""
    values = to_jsonable_python(request)
    if isinstance(request.expect, Unset):
        del values["expect"]
    return {"object": "registry.request", **values}


def _makers(asked: Asked) -> tuple[str, ...]:
    """Those who were shown what the caller shows: who made the token, or a key of the tenant."""
    caller = asked.caller
    if not caller.person.startswith(TENANT_PREFIX):
        return caller.makers
    tenant = caller.person.removeprefix(TENANT_PREFIX)
    return (*caller.makers, *key_makers(asked.registry.database, tenant))


def _request(asked: Asked) -> int:
    text = asked.path("request")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidField("`request` is not a number", param="request")
    return int(text)


def rollback(asked: Asked, body: bodies.Back) -> dict[str, Any]:
    """The last standing step of an alias is undone."""
    moved = asked.registry.rollback(
        name_of(asked),
        check_alias(asked.path("alias")),
        who=asked.caller.person,
        why=body.why,
        expect=body.expected,
    )
    return {"object": "registry.move", **to_jsonable_python(moved)}


def retire(asked: Asked, body: bodies.Back) -> dict[str, Any]:
    """An alias is taken away; versions, bytes and history stay."""
    event = asked.registry.retire(
        name_of(asked),
        check_alias(asked.path("alias")),
        who=asked.caller.person,
        why=body.why,
        expect=body.expected,
    )
    return {"object": "registry.event", **to_jsonable_python(event)}


def tag(asked: Asked, body: bodies.Tags) -> dict[str, Any]:
    """Tags are given to a version and taken from it."""
    tags = asked.registry.tag(
        name_of(asked),
        version_of(asked),
        add=body.add,
        remove=body.remove,
        who=asked.caller.person,
        why=body.why,
    )
    return {"object": "registry.tags", "tags": list(tags)}


def deprecate(asked: Asked, body: bodies.Deprecation) -> dict[str, Any]:
    """It is said that a version should no longer be used, or that taken back."""
    event = asked.registry.log.deprecate(
        name_of(asked),
        version_of(asked),
        who=asked.caller.person,
        why=body.why,
        deprecated=body.deprecated,
    )
    return {"object": "registry.event", **to_jsonable_python(event)}


def note(asked: Asked, body: bodies.Note) -> dict[str, Any]:
    """What was done with a version elsewhere goes into its log."""
    row = asked.registry.version(name_of(asked), version_of(asked))
    if taken := sorted(_OWN.intersection(body.data)):
        raise InvalidField(f"`data.{taken[0]}` is the log's own", param="data")
    if len(canonical_json(body.data)) > _MOST_NOTE:
        raise InvalidField(f"`data` has more than {_MOST_NOTE} bytes as JSON", param="data")
    event = asked.registry.log.note(
        row.name,
        row.version,
        body.kind,
        who=asked.caller.person,
        why=body.why,
        **body.data,
    )
    return {"object": "registry.event", **to_jsonable_python(event)}


def sign(asked: Asked, body: bodies.Signature) -> dict[str, Any]:
    """A signature that was made with a key elsewhere is kept, if it fits.

    Raises:
        InvalidField: neither the key that it is by, nor the id of one.
    """
    resolved = find(asked.registry, asked.path("ref"))
    if not body.public_key:
        if not body.key:
            raise InvalidField("name `public_key`, or the `key` that is said to have made it",
                               param="public_key")  # fmt: skip
        signatures = asked.registry.signatures
        signatures.receive(resolved.digest, {body.key: body.bundle}, who=asked.caller.person)
        return {"object": "registry.signature", "key": body.key, "digest": resolved.digest}
    with tempfile.TemporaryDirectory(prefix="adapters-key-") as folder:
        key = Path(folder, "key.pub")
        key.write_text(body.public_key)
        identity = asked.registry.signatures.add(
            resolved.digest, key, body.bundle, who=asked.caller.person, why=body.why
        )
    return {"object": "registry.signature", "key": identity, "digest": resolved.digest}


def name_of(asked: Asked) -> str:
    """The name in the path."""
    return check_name(asked.path("name"))


def version_of(asked: Asked) -> int:
    """The version in the path.

    Raises:
        InvalidField: it is no number.
    """
    text = asked.path("version")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidField("`version` is not a number", param="version")
    return int(text)
