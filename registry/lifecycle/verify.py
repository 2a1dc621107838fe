"""Verification: every byte, every record and the index itself, and repair from another store.

Checked for a release: its record hashes to its digest and says what the index says; each file's
bytes hash to what the record says; given keys, one of its signatures is good. Bytes may be absent:
those that were withheld from this registry or erased in it are named and are no fault, unless the
release needs them (`releases/absence.py`). A version that is deleted meanwhile is no fault either,
and no repair brings back what was erased. Checked for the whole registry besides: numbers are 1…n
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

from adapterworks.manifests.errors import IntegrityError, Refused
from adapterworks.registry.blobs.store import BlobStore, CorruptBlob, MissingBlob, copy_blob
from adapterworks.registry.index import absences, links, lookup, schema, versions
from adapterworks.registry.index.database import AnyRow, Database
from adapterworks.registry.lifecycle import signing
from adapterworks.registry.lifecycle.verify_index import index_problems
from adapterworks.registry.reading import files
from adapterworks.registry.releases.absence import Absence, Presence, judge
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Resolved

Kind = Literal["missing", "corrupt", "unerased", "record", "index", "signature"]

_versions, _blobs = schema.versions, schema.release_blobs


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
            void = signing.void(connection, resolved.digest)
            known = absences.of_release(connection, resolved.digest)
            row = lookup.find_release(connection, resolved.digest)
            linked = links.stored(connection, resolved.digest)
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
        if not links.are_of(linked, release):
            self._add("record", resolved, None, "the index links it to what the record does not")
        if self._keys:
            try:
                signing.require(release.to_bytes(), bundles, self._keys, str(resolved), void)
            except Refused as error:
                self._add("signature", resolved, None, error.message)

    def verify_index(self) -> None:
        """Verify what no single release shows: numbers, aliases, log."""
        with self._database.snapshot() as connection:
            for name, message in index_problems(connection):
                self.report.problems.append(Problem("index", name, None, message))

    def _verify_blob(
        self, resolved: Resolved, path: str, blob: str, absence: Absence | None
    ) -> None:
        if blob in self._good:
            return
        presence, message = self._presence(blob)
        state = judge(path, presence, absence)
        if state != "here":  # it may have been erased or deleted since it was listed
            with self._database.read() as connection:
                if lookup.find_live(connection, resolved.digest) is None:
                    return
                absence = absences.of_release(connection, resolved.digest).get(path)
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
        with self._database.read() as connection:
            gone = absences.erased(connection, [blob]).get(blob)
        if gone is not None:
            raise IntegrityError(f"it was {gone}, and does not come back")
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
