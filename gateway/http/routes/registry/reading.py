"""What is read of the registry: adapters, versions, aliases, logs, lineage, differences.

Every list is a page, as OpenAI's are: `after` (the `last_id` of the page before), `limit`,
`has_more`. Objects have the fields of the registry's own values (`registry/releases/types.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic_core import to_jsonable_python

from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.refs import check_alias, check_name, parse_ref
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Event, NameRow, Resolved, VersionRow

MOST = 1000
USUAL = 50
_MOST_TEXT = 200
_LARGEST = 10**9
T = TypeVar("T")


def me(asked: Asked) -> dict[str, Any]:
    """Who asks, and what it may do."""
    caller = asked.caller
    return {
        "object": "registry.caller",
        "name": caller.name,
        "person": caller.person,
        "role": caller.role.word,
        "revision": asked.registry.revision(),
    }


def adapters(asked: Asked) -> dict[str, Any]:
    """A page of adapters by name; `q` are words that each must have."""
    after, limit = asked.query("after"), _limit(asked)
    rows = asked.registry.names(
        limit=limit + 1, after=check_name(after) if after else None, text=_text(asked, "q")
    )
    return page(rows, limit, _adapter)


def adapter(asked: Asked) -> dict[str, Any]:
    """One adapter."""
    return _adapter(asked.registry.name(_name(asked)))


def versions(asked: Asked) -> dict[str, Any]:
    """A page of an adapter's versions, newest first; `deleted=true` lists tombstones too."""
    name, limit = _name(asked), _limit(asked)
    asked.registry.require_name(name)
    after = _number(asked, "after")
    rows = asked.registry.versions(
        name, limit=limit + 1, before=after, deleted=flag(asked, "deleted")
    )
    return page(rows, limit, version_object)


def version(asked: Asked) -> dict[str, Any]:
    """One version, a tombstone too."""
    wanted = _number_of(asked.path("version"), "version")
    return version_object(asked.registry.version(_name(asked), wanted))


def aliases(asked: Asked) -> dict[str, Any]:
    """An adapter's aliases with who holds them; the holder is first, then a canary."""
    row, rules = asked.registry.name(_name(asked)), asked.registry.protection.settings().aliases
    found = [
        {
            "id": alias,
            "object": "registry.alias",
            "alias": alias,
            "holders": to_jsonable_python(held),
            "protected": alias in rules and rules[alias].concerns(row.name),
        }
        for alias, held in row.aliases.items()
    ]
    return {"object": "list", "data": found, "has_more": False}


def log(asked: Asked) -> dict[str, Any]:
    """A page of an adapter's log, newest first: all of it, or of an alias or a version."""
    limit, alias, of = _limit(asked), asked.query("alias"), _number(asked, "version")
    rows = asked.registry.log.events(
        _name(asked),
        alias=check_alias(alias) if alias else None,
        version=of,
        facts=flag(asked, "facts"),
        limit=limit + 1,
        before=_number(asked, "after"),
    )
    return page(rows, limit, event_object)


def lineage(asked: Asked) -> dict[str, Any]:
    """What a version was made from; the newest one unless `version` is said."""
    registry, name = asked.registry, _name(asked)
    row = registry.name(name)
    of = _number(asked, "version") or row.latest
    # A name of which all is deleted has no newest: its tombstone says so.
    found = registry.origins.lineage(f"{name}@{of}" if of else name)
    return {"object": "registry.lineage", **to_jsonable_python(found)}


def search(asked: Asked) -> dict[str, Any]:
    """A page of live versions, newest first, by text, tag, base and method."""
    limit, skipped = _limit(asked), _number(asked, "offset") or 0
    rows = asked.registry.search(
        _text(asked, "q"),
        tag=asked.query("tag"),
        base=asked.query("base"),
        method=asked.query("method"),
        limit=limit + 1,
        offset=skipped,
    )
    return page(rows, limit, version_object)


def resolved(asked: Asked) -> dict[str, Any]:
    """What a ref stands for now."""
    return {"object": "registry.ref", **to_jsonable_python(find(asked.registry, asked.path("ref")))}


def differences(asked: Asked) -> dict[str, Any]:
    """What differs between two releases."""
    before, after = (find(asked.registry, asked.path(side)).ref for side in ("ref", "other"))
    return {
        "object": "registry.diff",
        **to_jsonable_python(asked.registry.diff(before, after)),
    }


def found(asked: Asked) -> dict[str, Any]:
    """Live versions by what they were made from: `by` says what `digest` is.

    `plan` (of a `name`), `stage` (whose `stage` is `train`, `evaluate` or `publish`), `parent` (a
    release), `data` (rows), `blob` (a file).
    """
    registry, digest, by = asked.registry, asked.query("digest") or "", asked.query("by")
    if not DIGEST_PATTERN.fullmatch(digest):
        raise InvalidField("a digest is `sha256:` and 64 hex digits", param="digest")
    rows: list[Resolved]
    if by == "plan":
        of_plan = registry.origins.find_plan(check_name(asked.query("name") or ""), digest)
        rows = [] if of_plan is None else [of_plan]
    elif by == "stage":
        rows = registry.origins.find_stages(asked.query("stage") or "", digest)
    elif by == "parent":
        rows = registry.origins.releases_from("parent", digest)
    elif by == "data":
        rows = registry.origins.releases_from("data", digest)
    elif by == "blob":
        rows = registry.origins.releases_with(digest)
    else:
        raise InvalidField("`by` is plan, stage, parent, data or blob", param="by")
    return {"data": to_jsonable_python(rows[:MOST])}


def find(registry: Registry, text: str) -> Resolved:
    """What a ref, or a release's digest alone, stands for.

    Raises:
        NotFound, InvalidInput: nothing, or it is neither.
    """
    if DIGEST_PATTERN.fullmatch(text):
        return registry.find(text)
    return registry.resolve(parse_ref(text))


def page(rows: Sequence[T], limit: int, shown: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page of the rows that were asked for, one more than `limit` of them."""
    data = [shown(row) for row in rows[:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(rows) > limit,
    }


def version_object(row: VersionRow) -> dict[str, Any]:
    """A version as it is listed."""
    values = to_jsonable_python(row)
    return {"id": f"{row.name}@{row.version}", "object": "registry.version", **values}


def event_object(event: Event) -> dict[str, Any]:
    """A row of the log."""
    values = to_jsonable_python(event)
    return {"id": str(event.sequence), "object": "registry.event", **values}


def flag(asked: Asked, name: str) -> bool:
    """A yes or no of the query; no if it is not there.

    Raises:
        InvalidField: it is neither `true` nor `false`.
    """
    word = asked.query(name)
    if word not in (None, "true", "false"):
        raise InvalidField(f"`{name}` is neither `true` nor `false`", param=name)
    return word == "true"


def _adapter(row: NameRow) -> dict[str, Any]:
    return {"id": row.name, "object": "registry.adapter", **to_jsonable_python(row)}


def _name(asked: Asked) -> str:
    return check_name(asked.path("name"))


def _limit(asked: Asked) -> int:
    return number(asked.request, "limit", USUAL, most=MOST)


def _text(asked: Asked, name: str) -> str:
    text = asked.query(name) or ""
    if len(text) > _MOST_TEXT:
        raise InvalidField(f"`{name}` has more than {_MOST_TEXT} characters", param=name)
    return text


def _number(asked: Asked, name: str) -> int | None:
    """A number of the query; of `medical@7`, which is a version's id, it is 7."""
    text = asked.query(name)
    return None if text is None else _number_of(text.rpartition("@")[2], name)


def _number_of(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidField(f"`{name}` is not a number below {_LARGEST}", param=name)
    return int(text)
