"""Verification: every byte, every record and the index itself, and repair from another store.

Checked for a release: its record hashes to its digest and says what the index says; each file's
bytes hash to what the record says; given keys, one of its signatures is good. Bytes may be absent:
those that were withheld from this registry or erased in it are named and are no fault, unless the
release needs them (`releases/absence.py`). Checked for the whole registry besides: numbers are 1…n
without a gap, aliases point to live versions and agree with the log, as do tags, numbers and
tombstones, and no row of the log is another than was logged.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import IntegrityError, Refused
from adapterworks.registry.blobs.store import BlobStore, CorruptBlob, MissingBlob, copy_blob
from adapterworks.registry.index import absences, chain, log, lookup, schema, versions
from adapterworks.registry.index.database import AnyRow, Database
from adapterworks.registry.lifecycle import signing
from adapterworks.registry.reading import files
from adapterworks.registry.releases.absence import Absence, Presence, judge
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Resolved

Kind = Literal["missing", "corrupt", "unerased", "record", "index", "signature"]

_names, _versions, _aliases = schema.names, schema.versions, schema.aliases
_blobs, _tags, _log = schema.release_blobs, schema.version_tags, schema.log
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `repaired` when it no longer is."""

    kind: Kind
    ref: str
    path: str | None
    message: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """A file whose bytes are rightly not here."""

    ref: str
    path: str
    state: str
    at: str
    who: str
    why: str


@dataclass
class VerifyReport:
    """What was looked at and what was wrong; `bytes` were hashed, `absent` is no fault."""

    releases: int = 0
    blobs: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong (any more)."""
        return all(problem.repaired for problem in self.problems)


class Verifier:
    """Verifies releases, each blob once."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        *,
        repair_from: BlobStore | None = None,
        public_keys: Sequence[Path] = (),
    ) -> None:
        self.report = VerifyReport()
        self._database = database
        self._store = blobs
        self._repair_from = repair_from
        self._keys = public_keys
        self._good: set[str] = set()

    def verify(self, resolved: Resolved) -> None:
        """Verify one release: blobs, record, signature."""
        self.report.releases += 1
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(_blobs).where(_blobs.c.release == resolved.digest).order_by(_blobs.c.path)
            ).all()
            bundles = signing.known(connection, resolved.digest)
            known = absences.of_release(connection, resolved.digest)
            row = lookup.find_release(connection, resolved.digest)
        listed = {row.path: (row.blob, row.size) for row in rows}
        for path, (blob, _) in listed.items():
            self._verify_blob(resolved, path, blob, known.get(path))
        try:
            release = files.read_release(self._store, resolved.digest)
        except (CorruptBlob, MissingBlob):
            return  # reported as a blob above
        except IntegrityError as error:
            self._add("record", resolved, None, error.message)
            return
        said = {path: (entry.digest, entry.size) for path, entry in release.files.items()}
        said[versions.RECORD_PATH] = (resolved.digest, len(release.to_bytes()))
        if release.name != resolved.name or said != listed:
            self._add("record", resolved, None, "the record and the index do not say the same")
        if row is not None and (differing := _differing(row, release)):
            message = f"the index says another {', '.join(differing)} than the record"
            self._add("record", resolved, None, message)
        if self._keys:
            try:
                signing.require(release.to_bytes(), bundles, self._keys, str(resolved))
            except Refused as error:
                self._add("signature", resolved, None, error.message)

    def verify_index(self) -> None:
        """Verify what no single release shows: numbers, aliases, log."""
        with self._database.read() as connection:
            problems = [
                *_chain_problems(connection),
                *_index_problems(connection),
                *_tag_problems(connection),
            ]
            for name, message in problems:
                self.report.problems.append(Problem("index", name, None, message))

    def _verify_blob(
        self, resolved: Resolved, path: str, blob: str, absence: Absence | None
    ) -> None:
        if blob in self._good:
            return
        presence, message = self._presence(blob)
        state = judge(path, presence, absence)
        if absence is not None and state in ("withheld", "erased"):
            self.report.absent.append(
                Absent(str(resolved), path, state, absence.at, absence.who, absence.why)
            )
            return
        self.report.blobs += 1
        if state == "here":
            self._good.add(blob)
            return
        if state == "unerased":
            self._add(state, resolved, path, f"it was {absence}; its bytes are still here")
            return
        assert state in ("missing", "corrupt")
        repaired = False
        if self._repair_from is not None:
            try:
                self._repair(blob, self._repair_from)
                repaired = True
                self._good.add(blob)
            except IntegrityError as error:
                message += f"; `{self._repair_from.url}` cannot repair it: {error.message}"
        self._add(state, resolved, path or "(record)", message, repaired)

    def _presence(self, blob: str) -> tuple[Presence, str]:
        """Whether the bytes are there and right, and what was found if they are not."""
        try:
            self._hash(blob)
        except MissingBlob as error:
            return "absent", error.message
        except CorruptBlob as error:
            return "wrong", error.message
        return "right", ""

    def _hash(self, blob: str) -> None:
        for chunk in self._store.get(blob):
            self.report.bytes += len(chunk)

    def _repair(self, blob: str, source: BlobStore) -> None:
        with tempfile.TemporaryDirectory(prefix="adapters-repair-") as folder:
            good = Path(folder, "blob")
            copy_blob(source, blob, good)
            self._store.delete(blob)
            self._store.put(blob, good)
        self._hash(blob)

    def _add(
        self, kind: Kind, resolved: Resolved, path: str | None, message: str, repaired: bool = False
    ) -> None:
        self.report.problems.append(Problem(kind, str(resolved), path, message, repaired))


def _differing(row: AnyRow, release: Release) -> list[str]:
    """The columns of a version's row that are not what the record says."""
    said = versions.columns_of(release)
    listed = {column: getattr(row, column) for column in said}
    for column in ("tags", "metrics"):  # JSON, whose spelling has changed
        said[column], listed[column] = json.loads(said[column]), json.loads(listed[column])
    if listed["plan"] is None:  # as of everything that was not built here
        said["plan"] = None
    return [column for column in said if said[column] != listed[column]]


def live_versions(database: Database, page: int = 500) -> Iterator[Resolved]:
    """Every live version, by name and number, in pages."""
    last: tuple[str, int] = ("", 0)
    while True:
        key = sa.tuple_(_versions.c.name, _versions.c.version)
        query = (
            sa.select(_versions.c.name, _versions.c.version, _versions.c.digest)
            .where(_versions.c.deleted.is_(None), key > last)
            .order_by(_versions.c.name, _versions.c.version)
            .limit(page)
        )
        with database.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield Resolved(row.name, row.version, row.digest, lookup.exact(row.name, row.version))
        if len(rows) < page:
            return
        last = (rows[-1].name, rows[-1].version)


def _chain_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Rows of the log that lie, and versions that it does not tell of as they are listed."""
    for row, why in chain.broken(connection):
        of = row.name if row.version is None else f"{row.name}@{row.version}"
        yield of, f"row {row.sequence} of the log (`{row.kind}` of {row.at[:19]}): {why}"
    logged: dict[tuple[str, str, int], str] = {}
    query = sa.select(_log.c.kind, _log.c.name, _log.c.version, _log.c.data).where(
        _log.c.kind.in_(("publish", "delete"))
    )
    for row in connection.execute(query):
        logged[row.kind, row.name, row.version] = row.data
    listed = sa.select(
        _versions.c.name, _versions.c.version, _versions.c.digest, _versions.c.deleted
    )
    for row in connection.execute(listed):
        ref = f"{row.name}@{row.version}"
        published = logged.get(("publish", row.name, row.version))
        if published is None or json.loads(published).get("digest") != row.digest:
            yield ref, "the log does not say that this release was published under this number"
        if (row.deleted is not None) != (("delete", row.name, row.version) in logged):
            yield ref, "the log and its row do not agree on whether it was deleted"


def _tag_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    """Versions whose tags are not those that the log gives and takes."""
    kept: dict[tuple[str, int], dict[str, bool]] = {}
    for row in connection.execute(sa.select(_tags)).all():
        kept.setdefault((row.name, row.version), {})[row.tag] = bool(row.present)
    for name in {name for name, _ in kept}:
        logged: dict[int, dict[str, bool]] = {}
        for event in reversed(log.events(connection, name, kinds=("tag",), limit=_ALL)):
            of_version = logged.setdefault(event.version or 0, {})
            of_version.update(dict.fromkeys(event.data["added"], True))
            of_version.update(dict.fromkeys(event.data["removed"], False))
        for (other, version), tags in kept.items():
            if other == name and tags != logged.get(version, {}):
                yield f"{name}@{version}", "its tags are not those that the log gave it"


def _index_problems(connection: Connection) -> Iterator[tuple[str, str]]:
    counts = connection.execute(
        sa.select(
            _names.c.name,
            _names.c.last_version,
            _names.c.live,
            sa.func.count(_versions.c.version).label("given"),
            sa.func.max(_versions.c.version).label("highest"),
            sa.func.count(_versions.c.version).filter(_versions.c.deleted.is_(None)).label("alive"),
        )
        .outerjoin(_versions, _versions.c.name == _names.c.name)
        .group_by(_names.c.name, _names.c.last_version, _names.c.live)
    )
    for row in counts:
        if not row.last_version == row.given == row.highest or row.live != row.alive:
            yield row.name, f"its versions are not 1…{row.last_version} without a gap"
    for holder in connection.execute(sa.select(_aliases)).all():
        ref = f"{holder.name}:{holder.alias}"
        for version in filter(None, (holder.version, holder.canary)):
            if lookup.get_version(connection, holder.name, version).deleted is not None:
                yield ref, f"it points to `{holder.name}@{version}`, which was deleted"
        logged = log.events(connection, holder.name, alias=holder.alias, kinds=log.MOVES, limit=1)
        moves = [log.to_move(event) for event in logged]
        held = (holder.version, holder.canary, holder.weight)
        if [(move.version, move.canary, move.weight) for move in moves] != [held]:
            yield ref, "it is not where its last logged move put it"
