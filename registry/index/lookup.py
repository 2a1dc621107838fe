"""Looking versions up: `resolve` is one indexed lookup, listings are pages.

Deleted versions are never resolved; the error says who deleted them, when and why. All functions
take the connection of a transaction.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.refs import Ref
from adapterworks.registry.index import links, log, schema, tags
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.releases.types import Resolved, VersionRow

_names, _versions, _aliases = schema.names, schema.versions, schema.aliases
_blobs = schema.release_blobs
# A stranger's record may name any; what the database cannot count is no version.
_NUMBER = re.compile(r"[0-9]{1,9}")
# Names that are looked through for one that was mistyped.
_SOME = 2000

_FOUND = (_versions.c.name, _versions.c.version, _versions.c.digest, _versions.c.deleted)
_BY_ALIAS = (
    sa.select(*_FOUND)
    .join(
        _aliases,
        (_aliases.c.name == _versions.c.name) & (_aliases.c.version == _versions.c.version),
    )
    .where(_aliases.c.name == sa.bindparam("name"), _aliases.c.alias == sa.bindparam("alias"))
)
_BY_VERSION = sa.select(*_FOUND).where(
    _versions.c.name == sa.bindparam("name"), _versions.c.version == sa.bindparam("version")
)
_BY_DIGEST = (
    sa.select(*_FOUND)
    .where(_versions.c.digest == sa.bindparam("digest"), _versions.c.name == sa.bindparam("name"))
    .order_by(_versions.c.version.desc())
)


def resolve(connection: Connection, ref: Ref) -> Resolved:
    """What a ref stands for now: one indexed lookup.

    Raises:
        NotFound: no such name, version, digest or alias, or it was deleted.
    """
    row: AnyRow | None
    if ref.alias is not None:
        row = connection.execute(_BY_ALIAS, {"name": ref.name, "alias": ref.alias}).first()
    elif ref.version is not None:
        row = connection.execute(_BY_VERSION, {"name": ref.name, "version": ref.version}).first()
    else:
        row = connection.execute(_BY_DIGEST, {"name": ref.name, "digest": ref.digest}).first()
    if row is None:
        raise _missing(connection, ref)
    if row.deleted is not None:
        raise _tombstone(connection, row)
    return Resolved(row.name, row.version, row.digest, ref)


def exact(name: str, version: int) -> Ref:
    """The ref of one version."""
    return Ref(name, version=version)


def find_live(connection: Connection, digest: str) -> Resolved | None:
    """The live version of a release digest, whatever its name."""
    return _live(connection, _versions.c.digest == digest)


def find_plan(connection: Connection, name: str, plan: str) -> Resolved | None:
    """The newest live version of a name that was built here from a plan digest."""
    # Until 2026-11 a pulled record's plan was taken over as it claimed.
    came = sa.exists().where(
        schema.log.c.name == _versions.c.name,
        schema.log.c.version == _versions.c.version,
        schema.log.c.kind.in_(("pull", "import")),
    )
    return _live(connection, (_versions.c.plan == plan) & (_versions.c.name == name) & ~came)


def find_stages(connection: Connection, stage: str, digest: str) -> list[Resolved]:
    """The live versions built here whose stage (`train`, `evaluate`, …) has a digest, newest
    first."""
    of_stage = links.releases_of("digest", digest, stage)
    rows = connection.execute(_newest(_versions.c.digest.in_(of_stage))).all()
    return [Resolved(r.name, r.version, r.digest, exact(r.name, r.version)) for r in rows]


def releases_from(
    connection: Connection, kind: links.Kind, target: str, *, but: str | None = None
) -> list[Resolved]:
    """The live versions whose record names a digest as a parent or as the digest of its rows, under
    any key `but` one."""
    rows = connection.execute(
        sa.select(*_FOUND)
        .where(
            _versions.c.digest.in_(links.releases_of(kind, target, but=but)),
            _versions.c.deleted.is_(None),
        )
        .order_by(_versions.c.published, _versions.c.name, _versions.c.version)
    ).all()
    return [Resolved(r.name, r.version, r.digest, exact(r.name, r.version)) for r in rows]


def releases_with(connection: Connection, blob: str) -> list[Resolved]:
    """The live versions that have a blob among their files, oldest first."""
    rows = connection.execute(
        sa.select(*_FOUND)
        .join(_blobs, _blobs.c.release == _versions.c.digest)
        .where(_blobs.c.blob == blob, _blobs.c.path != "", _versions.c.deleted.is_(None))
        .group_by(*_FOUND)
        .order_by(sa.func.min(_versions.c.published))
    ).all()
    return [Resolved(r.name, r.version, r.digest, exact(r.name, r.version)) for r in rows]


def size_of_blob(connection: Connection, blob: str) -> int:
    """Bytes of a file, or of the record, of a live release.

    Raises:
        NotFound: no live release has it, or those that name it came without it; what else is in the
            store is nobody's to read by digest.
    """
    withheld = sa.exists().where(
        schema.absences.c.blob == _blobs.c.blob, schema.absences.c.release == _blobs.c.release
    )
    size = connection.scalar(
        sa.select(_blobs.c.size)
        .join(_versions, _versions.c.digest == _blobs.c.release)
        .where(_blobs.c.blob == blob, _versions.c.deleted.is_(None), ~withheld)
        .limit(1)
    )
    if size is None:
        raise NotFound(f"no release has a file {blob}", hint="see a release: adapters show REF")
    return int(size)


def require_live(connection: Connection, digest: str) -> None:
    """Check that a release digest has a live version.

    Raises:
        NotFound: it was deleted, or never published here.
    """
    rows = connection.execute(
        sa.select(*_FOUND).where(_versions.c.digest == digest).order_by(_versions.c.version.desc())
    ).all()
    if not rows:
        raise NotFound(f"there is no release {digest}", hint="see what there is: adapters list")
    if all(row.deleted is not None for row in rows):
        raise _tombstone(connection, rows[0])


def is_name(connection: Connection, name: str) -> bool:
    """Whether a name exists, if only by its tombstones."""
    return connection.scalar(sa.select(_names.c.name).where(_names.c.name == name)) is not None


def digests(connection: Connection, name: str, beginning: str) -> list[str]:
    """The digests of a name's live versions that begin with a text."""
    query = sa.select(_versions.c.digest).where(
        _versions.c.name == name,
        _versions.c.deleted.is_(None),
        _versions.c.digest.startswith(beginning, autoescape=True),
    )
    return sorted(set(connection.scalars(query)))


def _no_adapter(connection: Connection, name: str) -> NotFound:
    """There is none of that name; perhaps another was meant."""
    some = connection.scalars(sa.select(_names.c.name).order_by(_names.c.name).limit(_SOME)).all()
    near = difflib.get_close_matches(name, some, n=1, cutoff=0.6)
    meant = f"did you mean `{near[0]}`? " if near else ""
    return NotFound(
        f"there is no adapter `{name}`", hint=f"{meant}see what there is with `adapters list`"
    )


def require_name(connection: Connection, name: str) -> None:
    """Check that a name exists.

    Raises:
        NotFound: it does not.
    """
    if not is_name(connection, name):
        raise _no_adapter(connection, name)


def find_release(connection: Connection, text: str) -> AnyRow | None:
    """The newest version, tombstones too, that a release digest or `name@n` means here."""
    name, _, number = text.partition("@")
    where = _versions.c.digest == text
    if _NUMBER.fullmatch(number):
        where = (_versions.c.name == name) & (_versions.c.version == int(number))
    return connection.execute(
        sa.select(_versions).where(where).order_by(_versions.c.version.desc())
    ).first()


def list_versions(
    connection: Connection, name: str, *, limit: int, before: int | None, deleted: bool = False
) -> list[VersionRow]:
    """A page of versions, newest first, older than `before`."""
    query = sa.select(_versions).where(_versions.c.name == name)
    if before is not None:
        query = query.where(_versions.c.version < before)
    if not deleted:
        query = query.where(_versions.c.deleted.is_(None))
    rows = connection.execute(query.order_by(_versions.c.version.desc()).limit(limit)).all()
    return with_aliases(connection, rows)


def get_version(connection: Connection, name: str, version: int) -> VersionRow:
    """One version's row, tombstones too.

    Raises:
        NotFound: the number was never given out.
    """
    rows = connection.execute(
        sa.select(_versions).where(_versions.c.name == name, _versions.c.version == version)
    ).all()
    if not rows:
        raise _missing(connection, exact(name, version))
    return with_aliases(connection, rows)[0]


def with_aliases(connection: Connection, rows: Sequence[AnyRow]) -> list[VersionRow]:
    """Rows of `versions` as values, each with the aliases that it holds."""
    held: dict[tuple[str, int], list[str]] = {}
    names = {row.name for row in rows}
    changed = tags.changes_of(connection, [(row.name, row.version) for row in rows])
    for holder in connection.execute(sa.select(_aliases).where(_aliases.c.name.in_(names))):
        held.setdefault((holder.name, holder.version), []).append(holder.alias)
    return [
        VersionRow(
            **{
                **row._asdict(),
                "tags": tags.effective(
                    json.loads(row.tags), changed.get((row.name, row.version), {})
                ),
                "metrics": json.loads(row.metrics),
                "aliases": tuple(sorted(held.get((row.name, row.version), []))),
            }
        )
        for row in rows
    ]


def _live(connection: Connection, where: sa.ColumnElement[bool]) -> Resolved | None:
    row = connection.execute(_newest(where)).first()
    if row is None:
        return None
    return Resolved(row.name, row.version, row.digest, exact(row.name, row.version))


def _newest(where: sa.ColumnElement[bool]) -> sa.Select[tuple[str, int, str, str | None]]:
    return (
        sa.select(*_FOUND)
        .where(where, _versions.c.deleted.is_(None))
        .order_by(_versions.c.published.desc(), _versions.c.version.desc())
    )


def _missing(connection: Connection, ref: Ref) -> NotFound:
    row = connection.execute(sa.select(_names).where(_names.c.name == ref.name)).first()
    if row is None:
        return _no_adapter(connection, ref.name)
    if ref.alias is not None:
        return NotFound(
            f"`{ref.name}` has no alias `{ref.alias}`",
            hint=f"point it at a version: adapters promote {ref.name}@{row.last_version} "
            f"{ref.alias}",
        )
    return NotFound(
        f"there is no version `{ref}`", hint=f"see its versions: adapters list {ref.name}"
    )


def _tombstone(connection: Connection, row: AnyRow) -> NotFound:
    (deletion,) = log.events(connection, row.name, version=row.version, kinds=("delete",), limit=1)
    because = f": {deletion.why}" if deletion.why else ""
    return NotFound(
        f"`{row.name}@{row.version}` was deleted by {deletion.who} at {deletion.at}{because}",
        hint=f"see its versions: adapters list {row.name}",
    )
