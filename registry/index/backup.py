"""Copies of an SQLite index, taken while it is in use and put back where there is none.

A PostgreSQL index is backed up with `pg_dump` (docs/reference/registry.md). A copy is one
consistent snapshot in one file, and a restored index is put in place by a rename, checked before.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from adapterworks.manifests.errors import (
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from adapterworks.registry.blobs.local import fsync_folder
from adapterworks.registry.index import migrations

_POSTGRESQL = "postgresql"
# What an index has from its first opening on.
_OF_OPENING = {"schema_versions", "revision", "store"}


def backup(database: str, target: Path) -> None:
    """Write a copy of the index at the URL `database` to a new file.

    Raises:
        InvalidInput: it is no SQLite index.
        NotFound: there is none.
        Conflict: `target` is there.
        IntegrityError: the index is damaged, and a copy of it would be, too.
        Unavailable: one of both cannot be opened, read or written now.
    """
    source = _file_of(database, 'pg_dump --format=custom --file=index.dump "$ADAPTERS_DATABASE"')
    if not source.exists():
        raise NotFound(f"there is no index `{source}`", hint="set `ADAPTERS_DATABASE`")
    if target.exists():
        raise Conflict(f"`{target}` is there already", hint="give another file")
    staged = target.with_name(f".{target.name}.part")
    staged.unlink(missing_ok=True)
    try:
        try:
            with _reachable(f"`{source}` was not copied to `{target}`"):
                _copy(source, staged)
                sound = _sound(staged)
        except sqlite3.DatabaseError as error:
            raise _damaged(source, str(error)) from error
        if not sound:
            raise _damaged(source, "its pages do not agree")
        staged.rename(target)
        fsync_folder(target.parent)
    finally:
        staged.unlink(missing_ok=True)


@contextlib.contextmanager
def _reachable(what: str) -> Iterator[None]:
    """Tell what keeps a file from being used now, as a full disk, from damage (PEP 249)."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f"{what}: {error}",
            hint="see that both folders are there and may be written, that their disks have room, "
            "and that no other program locks the index",
        ) from error


def _damaged(source: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"`{source}` is no index, or damaged, and no copy was made: {why}",
        hint="keep the copies that there are; move it away, and `adapters registry restore FILE` "
        "puts one in its place",
    )


def restore(database: str, source: Path) -> None:
    """Put a copy where the index at the URL `database` is to be.

    Raises:
        InvalidInput: it is no SQLite index, or `source` is none.
        Conflict: there is an index that holds something (releases, tenants, usage, jobs), or one
            that is damaged, of which nobody can tell.
        Unavailable: one of both cannot be opened, read or written now.
    """
    target = _file_of(database, 'pg_restore --no-owner --dbname="$ADAPTERS_DATABASE" index.dump')
    _check(source)
    away = "move it away first, if it is the copy that is wanted"
    try:
        with _reachable(f"`{target}` was not looked at"):
            held = target.exists() and _holds_something(target)
    except sqlite3.DatabaseError as error:
        raise Conflict(f"`{target}` is damaged, and not overwritten: {error}", hint=away) from error
    if held:
        raise Conflict(f"`{target}` is an index that is in use; it is not overwritten", hint=away)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.part")
    staged.unlink(missing_ok=True)
    try:
        with _reachable(f"`{source}` was not copied to `{target}`"):
            _copy(source, staged)
        for left in ("-wal", "-shm"):
            target.with_name(target.name + left).unlink(missing_ok=True)
        staged.rename(target)
        fsync_folder(target.parent)
    finally:
        staged.unlink(missing_ok=True)


def _file_of(database: str, instead: str) -> Path:
    url = make_url(database)
    if url.get_backend_name() == _POSTGRESQL:
        raise InvalidInput("the index is a PostgreSQL database", hint=instead)
    if not url.database:
        raise InvalidInput("the index is no file")
    return Path(url.database)


def _check(source: Path) -> None:
    wrong = InvalidInput(
        f"`{source}` is not a copy of an index", hint="give what `adapters registry backup` wrote"
    )
    try:
        sound = _sound(source)
        with contextlib.closing(_reading(source)) as file:
            query = "SELECT version FROM schema_versions WHERE namespace = ?"
            version = file.execute(query, (migrations.NAMESPACE,)).fetchone()
    except sqlite3.DatabaseError as error:
        raise wrong from error
    if not sound or version is None:
        raise wrong


def _sound(file: Path) -> bool:
    with contextlib.closing(_reading(file)) as opened:
        return opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _reading(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _holds_something(index: Path) -> bool:
    """Whether any table has a row that opening the index does not write."""
    with contextlib.closing(sqlite3.connect(index)) as file:
        named = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {str(name) for (name,) in named if not name.startswith("sqlite_")}
        return any(
            file.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None  # noqa: S608
            for name in sorted(tables - _OF_OPENING)
        )


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source)) as one,
        contextlib.closing(sqlite3.connect(target)) as other,
    ):
        one.backup(other)
        other.execute("PRAGMA journal_mode = DELETE")
