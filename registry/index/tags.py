"""Tags given and taken after publishing: the record keeps its own, the log has who, when and why.

Invariant: a version's tags are the record's, less those taken, and those given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.index import log, schema

_versions, _tags = schema.versions, schema.version_tags
MAX_LENGTH = 64


def check_tag(tag: str) -> str:
    """A tag that may be given.

    Raises:
        InvalidInput: it is empty, too long, or has spaces or control characters.
    """
    if not tag or len(tag) > MAX_LENGTH or not tag.isprintable() or any(map(str.isspace, tag)):
        raise InvalidInput(
            f"{tag!r} is not a tag", hint=f"write one word of at most {MAX_LENGTH} characters"
        )
    return tag


def change(
    connection: Connection,
    name: str,
    version: int,
    *,
    add: Sequence[str],
    remove: Sequence[str],
    who: str,
    why: str,
) -> tuple[str, ...]:
    """Give and take tags of a live version; returns the tags it has then. Logged if any changes."""
    both = set(add) & set(remove)
    if both:
        raise InvalidInput(f"`{min(both)}` cannot be both given and taken")
    published = connection.scalar(
        sa.select(_versions.c.tags).where(_versions.c.name == name, _versions.c.version == version)
    )
    of_record = json.loads(published or "[]")
    before = effective(
        of_record, changes_of(connection, [(name, version)]).get((name, version), {})
    )
    added = [tag for tag in dict.fromkeys(map(check_tag, add)) if tag not in before]
    removed = [tag for tag in dict.fromkeys(remove) if tag in before]
    for tag, present in [*((tag, 1) for tag in added), *((tag, 0) for tag in removed)]:
        key = (_tags.c.name == name, _tags.c.version == version, _tags.c.tag == tag)
        connection.execute(sa.delete(_tags).where(*key))
        connection.execute(
            sa.insert(_tags).values(name=name, version=version, tag=tag, present=present)
        )
    if added or removed:
        log.append(
            connection,
            name,
            "tag",
            who=who,
            why=why,
            version=version,
            added=added,
            removed=removed,
        )
    return tuple(tag for tag in before if tag not in removed) + tuple(added)


def changes_of(
    connection: Connection, versions: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, bool]]:
    """What was given (true) and taken (false) of versions."""
    wanted = list(versions)
    names = {name for name, _ in wanted}
    found: dict[tuple[str, int], dict[str, bool]] = {}
    for row in connection.execute(sa.select(_tags).where(_tags.c.name.in_(names))):
        found.setdefault((row.name, row.version), {})[row.tag] = bool(row.present)
    return {key: found[key] for key in wanted if key in found}


def effective(of_record: Sequence[str], changed: dict[str, bool]) -> tuple[str, ...]:
    """A version's tags: the record's first, then those given later, in alphabetical order."""
    kept = [tag for tag in of_record if changed.get(tag, True)]
    given = sorted(tag for tag, present in changed.items() if present and tag not in kept)
    return (*kept, *given)


def has(tag: str) -> sa.ColumnElement[bool]:
    """Whether a row of `versions` has a tag now."""
    return (_in_record(tag) & ~_changed(_tags.c.tag == tag, 0)) | _changed(_tags.c.tag == tag, 1)


def has_word(word: str) -> sa.ColumnElement[bool]:
    """Whether a word (lower case) occurs in a tag that a row of `versions` was given later."""
    return _changed(sa.func.lower(_tags.c.tag).contains(word, autoescape=True), 1)


def _in_record(tag: str) -> sa.ColumnElement[bool]:
    # Until 2026-11 other letters than ASCII were stored as escapes.
    spellings = {json.dumps(tag), json.dumps(tag, ensure_ascii=False)}
    # Not by LIKE, which takes `Icd` for `icd` on SQLite and not on PostgreSQL.
    without = (sa.func.replace(_versions.c.tags, text, "") for text in spellings)
    return sa.or_(*(_versions.c.tags != rest for rest in without))


def _changed(where: sa.ColumnElement[bool], present: int) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        _tags.c.name == _versions.c.name,
        _tags.c.version == _versions.c.version,
        _tags.c.present == present,
        where,
    )
