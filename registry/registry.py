"""The registry: one object in front of blobs and index, the API that builders and gateway code use.

Invariant: everything listed is complete, nothing listed changes, and every read is verified.
Each method is one transaction; threads and processes may share a registry's stores freely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import IntegrityError, NotFound, Refused, Unavailable
from adapterworks.manifests.refs import Ref, check_alias, check_name, parse_ref
from adapterworks.registry.blobs.open import open_blobs
from adapterworks.registry.blobs.store import BlobStore, Store
from adapterworks.registry.index import (
    absences,
    links,
    log,
    lookup,
    names,
    schema,
    tags,
    versions,
)
from adapterworks.registry.index.database import AnyRow, Database
from adapterworks.registry.index.search import search
from adapterworks.registry.lifecycle import (
    aliases,
    approval,
    clearance,
    eviction,
    gc,
    identity,
    leases,
    protection,
    revocation,
    signing,
)
from adapterworks.registry.lifecycle import erase as erasing
from adapterworks.registry.lifecycle import publish as publishing
from adapterworks.registry.lifecycle import purge as purging
from adapterworks.registry.lifecycle import rebuild as rebuilding
from adapterworks.registry.lifecycle.erase import Erasure
from adapterworks.registry.lifecycle.rebuild import Unlisted
from adapterworks.registry.lifecycle.verify import Problem, Verifier, VerifyReport, live_versions
from adapterworks.registry.reading import files
from adapterworks.registry.reading.checkout import checkout
from adapterworks.registry.reading.diff import Diff, diff, read_lock
from adapterworks.registry.reading.lineage import Lineage, ancestors, lineage, parents_of
from adapterworks.registry.releases.absence import Absence, AbsentFile
from adapterworks.registry.releases.release import UNNAMED, Draft, Parent, Release, parent_of
from adapterworks.registry.releases.types import (
    UNSET,
    AliasMove,
    Event,
    NameRow,
    Published,
    Resolved,
    Unset,
    VersionRow,
    Weighted,
)


class Registry:
    """An open registry; as a context manager it is closed at the end.

    Attributes:
        has_index: whether its tables can be asked here; those of a server cannot.
    """

    has_index = True

    def __init__(
        self,
        database: Database,
        blobs: Store,
        home: Path,
        author: str = UNNAMED,
        most_checkouts: int | None = None,
    ) -> None:
        """Use stores that are open; `Registry.open` is the usual way."""
        self.most_checkouts = most_checkouts
        self.database = database
        self.blobs = blobs
        self.home = home
        self.author = author
        self.checkouts = home / "checkouts"
        self.arriving = home / "sent"  # uploads that are not whole yet
        self._own_store = False

    @classmethod
    def open(
        cls,
        *,
        database: str,
        blobs: str,
        home: Path,
        author: str = UNNAMED,
        most_checkouts: int | None = None,
    ) -> Registry:
        """Open, creating and migrating what is not there.

        Args:
            database: SQLAlchemy URL, `sqlite:///path` or `postgresql://…`.
            blobs: a folder or `s3://bucket/prefix`.
            home: folder of this machine's checkouts.
            author: `created_by` of what is published here; a name that was given, no login.
            most_checkouts: bytes that this machine's checkouts may take; those that were not asked
                for lately, and that nobody holds, make room. None: they stay.

        Raises:
            InvalidInput: a URL of another kind.
            Unavailable: the database cannot be reached or was written by a newer program.
        """
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # a read-only disk, or a file of that name
            raise Unavailable(
                f"`{home}` cannot be made: {error.strerror}",
                hint="set `ADAPTERS_HOME` to a folder that can be written",
            ) from error
        store = open_blobs(blobs)
        opened = Database(database)
        try:
            opened.migrate(schema.NAMESPACE, schema.MIGRATIONS)
        except BaseException:
            opened.close()
            raise
        return cls(opened, store, home, author, most_checkouts)

    def close(self) -> None:
        """Close the database's connections; idempotent."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def require_own_store(self) -> None:
        """Check, once, that blobs and index belong together before anything is written to either.

        Raises:
            Refused: they do not.
        """
        if not self._own_store:
            identity.require_own(self.database, self.blobs)
            self._own_store = True

    # Writing

    def publish(
        self,
        folder: Path,
        draft: Draft,
        *,
        alias: str | None = None,
        who: str,
        why: str = "",
        guard: publishing.Guard | None = None,
    ) -> Published:
        """Publish a folder's files as the next version of `draft.name`.

        A draft that does not say who it is by gets the registry's author.

        The same draft with the same bytes is the same release: it is published once, and
        publishing it again returns its version with `created` false. `alias` moves in the same
        transaction that lists the version. `guard` is asked in it first: what it raises keeps the
        version from being listed.

        Raises:
            InvalidInput: the folder is empty or holds something else than plain files.
        """
        check_name(draft.name)
        if alias is not None:
            check_alias(alias)
        self.require_own_store()
        act = publishing.Act(who, why, alias, guard=guard)
        return publishing.publish(
            self.database, self.blobs, folder, draft, author=self.author, act=act
        )

    def adopt(
        self,
        folder: Path,
        release: Release,
        *,
        withheld: Mapping[str, str] = MappingProxyType({}),
        alias: str | None = None,
        who: str,
        why: str = "",
    ) -> Published:
        """Publish a release that was made elsewhere, under its own record.

        Args:
            folder: its files, but for those that were withheld.
            withheld: why the bytes of a path did not come with it. They may be absent here from
                now on; those that are here already stay.

        Raises:
            IntegrityError: a file is not what the record says, or lacks without being withheld.
            InvalidInput: weights are withheld.
            Refused: bytes that it cannot be without were erased here.
        """
        check_name(release.name)
        if alias is not None:
            check_alias(alias)
        self.require_own_store()
        act = publishing.Act(who, why, alias, built=False)
        return publishing.adopt(self.database, self.blobs, folder, release, withheld, act)

    def publish_stored(
        self, release: Release, *, built: bool, who: str, why: str = ""
    ) -> Published:
        """Publish a release whose bytes are in the store already, under its own record.

        Args:
            built: whether its build is one of this registry's.

        Raises:
            Conflict: some of its bytes are not there.
            Refused: bytes that it cannot be without were erased here.
        """
        check_name(release.name)
        self.require_own_store()
        act = publishing.Act(who, why, built=built)
        return publishing.list_stored(self.database, self.blobs, release, act=act)

    def promote(
        self,
        name: str,
        version: int,
        alias: str,
        *,
        who: str,
        why: str = "",
        expect: int | Unset | None = UNSET,
        weight: int = 100,
    ) -> AliasMove:
        """Move an alias by compare-and-set; see `aliases.promote`.

        Raises:
            Refused: the alias is protected and the version lacks what it asks for.
        """
        while True:
            with self.database.read() as connection:
                seen = log.head(connection, name)
            cleared = self._clear(name, version, alias)
            with self.database.write() as connection:
                if cleared is not None and log.head(connection, name) != seen:
                    continue  # something was learnt meanwhile (a revocation, a proof): once more
                return aliases.promote(
                    connection,
                    name,
                    version,
                    alias,
                    who=who,
                    why=why,
                    expect=expect,
                    weight=weight,
                    cleared=cleared,
                )

    def request(
        self,
        name: str,
        version: int,
        alias: str,
        *,
        who: str,
        why: str,
        expect: int | Unset | None = UNSET,
        weight: int = 100,
        makers: Sequence[str] = (),
    ) -> approval.Request:
        """Ask for a move that somebody else is to approve.

        Args:
            makers: people who could have asked in the name of `who`, and so do not approve.

        Raises:
            NotFound: there is no such live version.
        """
        check_alias(alias)
        with self.database.write() as connection:
            lookup.resolve(connection, lookup.exact(name, version))
            return approval.ask(
                connection,
                name,
                version,
                alias,
                who=who,
                why=why,
                expect=expect,
                percent=weight,
                makers=makers,
            )

    def requests(self, *, limit: int = 50) -> list[approval.Request]:
        """The moves that were asked for and are not decided, newest first."""
        with self.database.read() as connection:
            return approval.standing(connection, limit=limit)

    def approve(
        self, request: int, *, who: str, why: str = "", makers: Sequence[str] = ()
    ) -> approval.Request:
        """Approve a move that somebody else asked for; the last approval needed makes it.

        Args:
            makers: people who could have approved in the name of `who`.

        Raises:
            NotFound: there is no such request, or its version was deleted.
            Refused: `who` asked for it, or the version lacks what the alias asks for.
            Conflict: it was decided, or another version holds the alias than was expected.
        """
        while True:
            with self.database.read() as connection:
                found = approval.find(connection, request)
                approval.require_open(found)
                approval.require_other(found, who, makers)
                settings = protection.standing(connection)
                seen = log.head(connection, found.name)
            rule = None if settings is None else settings.rule(found.name, found.alias)
            needed = max(1, rule.approvals) if rule is not None else 1
            last = len(found.approved_by) + 1 >= needed
            cleared = (
                self._clear(found.name, found.version, found.alias, approved=True) if last else None
            )
            with self.database.write() as connection:
                if log.head(connection, found.name) != seen:
                    continue  # somebody was quicker, or something was learnt: once more
                approval.decide(
                    connection,
                    found,
                    approval.APPROVE,
                    who=who,
                    why=why,
                    last=last,
                    makers=makers,
                )
                if last:
                    aliases.promote(
                        connection,
                        found.name,
                        found.version,
                        found.alias,
                        who=who,
                        why=f"request {request} by {found.who}: {found.why}",
                        expect=found.expect,
                        weight=found.percent,
                        cleared=cleared,
                    )
                return approval.find(connection, request)

    def deny(self, request: int, *, who: str, why: str = "") -> approval.Request:
        """Decide that a move is not made.

        Raises:
            NotFound: there is no such request.
            Conflict: it was decided.
        """
        with self.database.write() as connection:
            found = approval.find(connection, request)
            approval.require_open(found)
            approval.decide(connection, found, approval.DENY, who=who, why=why, last=True)
            return approval.find(connection, request)

    def _clear(self, name: str, version: int, alias: str, *, approved: bool = False) -> int | None:
        """The settings that a version fulfils, where its alias is protected."""
        with self.database.read() as connection:
            found = protection.standing(connection)
            rule = None if found is None else found.rule(name, alias)
            if found is None or rule is None:
                return None
            resolved = lookup.resolve(connection, lookup.exact(name, version))
            clearance.require(
                connection,
                resolved,
                rule,
                alias,
                record=self.release(resolved.digest).to_bytes(),
                read=lambda path: self.read_if_here(resolved.digest, path),
                approved=approved,
            )
            return found.sequence

    def settings(self) -> protection.Settings:
        """The registry's settings, which hold for everybody who uses it."""
        with self.database.read() as connection:
            found = protection.standing(connection)
        return protection.Settings() if found is None else found.settings

    def set_settings(self, settings: protection.Settings, *, who: str, why: str = "") -> Event:
        """Let other settings hold from now on."""
        with self.database.write() as connection:
            return protection.keep(connection, settings, who=who, why=why)

    def require_movable(self, name: str, alias: str | None) -> None:
        """Check, before a build or an import, that its release may get an alias by itself.

        Raises:
            Refused: the alias is protected, so a release gets it later.
        """
        if alias is not None:
            check_alias(alias)
            with self.database.read() as connection:
                protection.require_cleared(connection, name, alias, None)

    def note_proof(self, digest: str, result: str, **facts: Any) -> None:
        """Log what came of a proof on an engine, if the newest one of the release said otherwise.

        Args:
            result: `proved` or `failed`.
            facts: of the engine, and what was measured.
        """
        with self.database.read() as connection:
            found = lookup.find_live(connection, digest)
            if found is None:
                return
            newest = log.events(
                connection, found.name, version=found.version, kinds=("proof",), limit=1
            )
        if not newest or newest[0].data.get("result") != result:
            self.note(found.name, found.version, "proof", who="gateway", result=result, **facts)

    def rollback(
        self, name: str, alias: str, *, who: str, why: str = "", expect: int | Unset = UNSET
    ) -> AliasMove:
        """Undo the last standing step of an alias; see `aliases.rollback`."""
        seen = self.history(name, alias)
        with self.database.write() as connection:
            return aliases.rollback(
                connection, name, alias, who=who, why=why, expect=expect, seen=seen
            )

    def retire(
        self, name: str, alias: str, *, who: str, why: str = "", expect: int | Unset = UNSET
    ) -> Event:
        """Remove an alias; versions, bytes and history stay. See `aliases.retire`."""
        with self.database.write() as connection:
            return aliases.retire(connection, name, alias, who=who, why=why, expect=expect)

    def delete(
        self, name: str, version: int, *, with_aliases: bool = False, who: str, why: str = ""
    ) -> None:
        """Turn a version into a tombstone; its bytes go at the next gc.

        Args:
            with_aliases: remove the aliases that it holds, and end its canaries.

        Raises:
            NotFound: there is no such live version.
            Conflict: an alias points to it.
        """
        with self.database.write() as connection:
            if with_aliases:
                lookup.resolve(connection, lookup.exact(name, version))
                aliases.let_go(connection, name, version, who=who, why=why)
            versions.delete_version(connection, name, version, who=who, why=why)

    def look_at_purge(self, name: str, version: int) -> purging.Purge:
        """What purging a version would concern.

        Raises:
            NotFound: the number was never given out.
        """
        with self.database.read() as connection:
            return purging.look(connection, name, version)

    def purge(
        self, name: str, version: int, *, with_aliases: bool = False, who: str, why: str
    ) -> purging.Purge:
        """Delete a version and erase at once what is its alone; again, it finishes the rest.

        Raises:
            NotFound: the number was never given out.
            Conflict: an alias points to it.
        """
        self.require_own_store()
        if self.version(name, version).deleted is None:
            self.delete(name, version, with_aliases=with_aliases, who=who, why=why)
        return purging.erase_rest(
            self.database, self.blobs, self.home, name, version, who=who, why=why
        )

    def erase(self, blob: str, *, who: str, why: str) -> Erasure:
        """Remove a file's bytes for good; records keep their digest. Doing it again goes on.

        Raises:
            NotFound: no release has them.
            Refused: a live release cannot be served or proved without them.
        """
        self.require_own_store()
        return erasing.erase(self.database, self.blobs, self.home, blob, who=who, why=why)

    def look_at_erasure(self, blob: str) -> Erasure:
        """What erasing a file's bytes would concern.

        Raises:
            NotFound: no release has them.
        """
        with self.database.read() as connection:
            return erasing.look(connection, blob)

    def tag(
        self,
        name: str,
        version: int,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        who: str,
        why: str = "",
    ) -> tuple[str, ...]:
        """Give and take tags; returns those the version has then. The record keeps its own.

        Raises:
            NotFound: there is no such live version.
            InvalidInput: not a tag, or one that is both given and taken.
        """
        with self.database.write() as connection:
            lookup.resolve(connection, lookup.exact(name, version))
            return tags.change(connection, name, version, add=add, remove=remove, who=who, why=why)

    def deprecate(
        self, name: str, version: int, *, who: str, why: str, deprecated: bool = True
    ) -> Event:
        """Say that a version should no longer be used and why, or take that back.

        Raises:
            NotFound: there is no such live version.
        """
        with self.database.write() as connection:
            lookup.resolve(connection, lookup.exact(name, version))
            return log.append(
                connection,
                name,
                "deprecate",
                who=who,
                why=why,
                version=version,
                deprecated=deprecated,
            )

    def note(
        self, name: str, version: int | None, kind: str, *, who: str, why: str = "", **data: Any
    ) -> Event:
        """Append an event of another kind (`push`, `import`, …) to a name's log."""
        with self.database.write() as connection:
            return log.append(connection, name, kind, who=who, why=why, version=version, **data)

    def sign(
        self,
        digest: str,
        private_key: Path,
        *,
        password: str | None = None,
        who: str,
        why: str = "",
    ) -> str:
        """Sign a release's record and keep the signature beside it; returns the key's id.

        Raises:
            NotFound: no such release.
            InvalidInput: the key cannot be used.
        """
        release = self.release(digest)
        key, bundle = signing.sign(release.to_bytes(), private_key, password)
        self._keep_signature(digest, key, bundle, who=who, why=why)
        return key

    def add_signature(
        self, digest: str, public_key: Path, bundle: str, *, who: str, why: str = ""
    ) -> str:
        """Keep a signature that was made elsewhere just now; returns the key's id.

        Raises:
            NotFound: no such release.
            Refused: it is not this key's signature of this release.
        """
        release = self.release(digest)
        key = signing.key_id(public_key)
        if not signing.fits(release.to_bytes(), bundle, public_key):
            raise Refused(
                f"the signature is not by this key, or not of `{release.name}@{digest}`",
                hint="adapters sign REF --key KEY",
            )
        self._keep_signature(digest, key, bundle, who=who, why=why)
        return key

    def _keep_signature(self, digest: str, key: str, bundle: str, *, who: str, why: str) -> None:
        with self.database.write() as connection:
            live = lookup.find_live(connection, digest)
            new = live is not None and signing.store(connection, digest, key, bundle, who=who)
            void = signing.void(connection, digest)
            if live is not None and (new or key in void):
                bundle = signing.stored(connection, digest)[key]
                log.append(
                    connection,
                    live.name,
                    "sign",
                    who=who,
                    why=why,
                    version=live.version,
                    key=key,
                    bundle=digest_bytes(bundle.encode()),
                )

    def revoke(self, ref: Ref | str, key: str = revocation.EVERY, *, who: str, why: str) -> Event:
        """Say that what a key, or every one, signed of a release up to now does not count.

        Args:
            key: its id; empty for every key.

        Raises:
            NotFound: no such release.
        """
        resolved = self.resolve(ref)
        with self.database.write() as connection:
            return revocation.revoke(connection, resolved, key, who=who, why=why)

    def hold(self, *digests: str, kind: str, seconds: float = leases.LEASE_S) -> leases.Lease:
        """Keep releases' bytes from gc while a build or a gateway uses them.

        Args:
            kind: `build` or `serving`.

        Raises:
            NotFound: a release was deleted or never published.
        """
        return leases.Lease(self.database, kind, digests, seconds)

    def gc(
        self, *, grace: float = gc.GRACE_S, unlisted: bool = False, dry_run: bool = False
    ) -> gc.GcReport:
        """Move bytes that no live version and no lease needs to the trash; see `gc.collect`.

        Raises:
            Refused: the store is another index's, or has releases that this one never listed.
        """
        if dry_run:
            identity.require_own(self.database, self.blobs, claim=False)
        else:
            self.require_own_store()
        return gc.collect(
            self.database,
            self.blobs,
            self.checkouts,
            grace=grace,
            unlisted=unlisted,
            dry_run=dry_run,
            arriving=self.arriving,
        )

    def unlisted(self, *, take: Sequence[str] = ()) -> list[Unlisted]:
        """The releases in the store that this index does not list."""
        return rebuilding.unlisted(self.database, self.blobs, take=take)

    def rebuild_index(self, *, take: Sequence[str] = (), who: str) -> list[Resolved]:
        """List what is in the store and not listed; see `rebuild.rebuild`.

        Args:
            take: digests of records to list although another release has them as a file.

        Raises:
            Refused: the store is another index's.
        """
        return rebuilding.rebuild(self.database, self.blobs, take=take, who=who)

    # Reading

    def resolve(self, ref: Ref | str) -> Resolved:
        """What a ref stands for now.

        Raises:
            NotFound: no such name, version, digest or alias, or it was deleted.
        """
        parsed = parse_ref(ref) if isinstance(ref, str) else ref
        with self.database.read() as connection:
            return lookup.resolve(connection, parsed)

    def release(self, digest: str) -> Release:
        """The record of a release, verified against its digest.

        Raises:
            NotFound: the version was deleted, or there never was one.
            IntegrityError: the record is missing or damaged.
        """
        with self.database.read() as connection:
            lookup.require_live(connection, digest)
        return files.read_release(self.blobs, digest)

    def read(self, digest: str, path: str) -> bytes:
        """One file of a release, verified.

        Raises:
            NotFound: no such release or file.
            AbsentFile: its bytes were erased, or the release came here without them.
            IntegrityError: its bytes are missing or damaged.
        """
        return files.read_file(
            self.blobs, digest, self.release(digest), path, self.absences(digest)
        )

    def read_if_here(self, digest: str, path: str) -> bytes | None:
        """One file of a release, verified; None if it has no such file, or rightly not its bytes.

        Raises:
            NotFound: no such release.
            IntegrityError: its bytes are missing or damaged.
        """
        release = self.release(digest)
        if path not in release.files:
            return None
        try:
            return files.read_file(self.blobs, digest, release, path, self.absences(digest))
        except AbsentFile:
            return None

    def absences(self, digest: str) -> dict[str, Absence]:
        """What is known of a release's files that may not be here, by path.

        A file that was withheld may have come since; one that was erased is not read any more.
        """
        with self.database.read() as connection:
            return absences.of_release(connection, digest)

    def checkout(self, digest: str, role: str) -> Path:
        """A read-only folder with the verified files under `role/`, without that prefix.

        Args:
            role: `servable`, `adapter`, `full` or another first folder of the release.

        Raises:
            NotFound: no such release, or it has no files of that role.
            AbsentFile: all of them were erased or withheld; some are left out, which weights
                never are.
            IntegrityError: bytes are missing or damaged in the blob store.
        """
        release = self.release(digest)
        new = not (self.checkouts / digest.removeprefix("sha256:") / role).exists()
        folder = checkout(self.blobs, self.checkouts, release, role, self.absences(digest))
        if new and self.most_checkouts is not None:
            eviction.evict(self.database, self.checkouts, self.most_checkouts)
        return folder

    def versions(
        self, name: str, *, limit: int = 50, before: int | None = None, deleted: bool = False
    ) -> list[VersionRow]:
        """A page of a name's versions, newest first; `deleted` lists tombstones too."""
        with self.database.read() as connection:
            return lookup.list_versions(
                connection, name, limit=limit, before=before, deleted=deleted
            )

    def digests(self, name: str, beginning: str) -> list[str]:
        """The digests of a name's live versions that begin so (`sha256:…`), each once."""
        with self.database.read() as connection:
            return lookup.digests(connection, name, beginning)

    def require_name(self, name: str) -> None:
        """Check that a name exists.

        Raises:
            NotFound: it does not.
        """
        with self.database.read() as connection:
            lookup.require_name(connection, name)

    def version(self, name: str, version: int) -> VersionRow:
        """One version's row, tombstones too.

        Raises:
            NotFound: the number was never given out.
        """
        with self.database.read() as connection:
            return lookup.get_version(connection, name, version)

    def names(self, *, limit: int = 50, after: str | None = None, text: str = "") -> list[NameRow]:
        """A page of names in alphabetical order, after `after`; see `names.list_names`."""
        with self.database.read() as connection:
            return names.list_names(connection, limit=limit, after=after, text=text)

    def name(self, name: str) -> NameRow:
        """One name's row.

        Raises:
            NotFound: there is no such name.
        """
        with self.database.read() as connection:
            found = names.get_name(connection, name)
            if found is None:
                lookup.require_name(connection, name)
        assert found is not None
        return found

    def find(self, digest: str) -> Resolved:
        """The live version of a release digest, whatever its name.

        Raises:
            NotFound: it was deleted, or never published here.
        """
        with self.database.read() as connection:
            lookup.require_live(connection, digest)
            found = lookup.find_live(connection, digest)
        assert found is not None
        return found

    def size_of_blob(self, digest: str) -> int:
        """Bytes of a file, or of the record, of a live release.

        Raises:
            NotFound: no live release has it.
            AbsentFile: it was erased.
        """
        with self.database.read() as connection:
            size = lookup.size_of_blob(connection, digest)
            gone = absences.erased(connection, [digest]).get(digest)
        if gone is not None:
            raise AbsentFile("a release", digest, gone)
        return size

    def find_plan(self, name: str, plan: str) -> Resolved | None:
        """The newest live version of a name that was built here from a plan digest."""
        with self.database.read() as connection:
            return lookup.find_plan(connection, name, plan)

    def find_stages(self, stage: str, digest: str) -> list[Resolved]:
        """The live versions built here whose `digests.STAGE` is this one, newest first.

        Args:
            stage: `train`, `evaluate` or `publish`.
        """
        with self.database.read() as connection:
            return lookup.find_stages(connection, stage, digest)

    def releases_from(self, kind: Literal["parent", "data"], digest: str) -> list[Resolved]:
        """The live versions made from a release (`parent`) or from rows (`data`), by digest."""
        with self.database.read() as connection:
            return lookup.releases_from(connection, kind, digest)

    def releases_with(self, blob: str) -> list[Resolved]:
        """The live versions that have a blob among their files, oldest first."""
        with self.database.read() as connection:
            return lookup.releases_with(connection, blob)

    def weights(self, name: str, alias: str) -> tuple[Weighted, ...]:
        """The alias's holder and canary with their percentages, which sum to 100.

        Raises:
            NotFound: there is no such alias.
        """
        with self.database.read() as connection:
            return aliases.weights(connection, name, alias)

    def history(self, name: str, alias: str | None = None) -> list[AliasMove]:
        """Every move of an alias (or of all of a name's aliases), oldest first."""
        with self.database.read() as connection:
            return aliases.history(connection, name, alias)

    def events(
        self,
        name: str,
        *,
        alias: str | None = None,
        version: int | None = None,
        facts: bool = False,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Event]:
        """A page of a name's log (or of an alias, or a version), newest first, older than `before`.

        Args:
            facts: only what was learnt of releases after they were published.

        Raises:
            NotFound: there is no such name, alias or version.
        """
        with self.database.read() as connection:
            lookup.require_name(connection, name)
            if version is not None:
                lookup.get_version(connection, name, version)
            found = log.events(
                connection,
                name,
                alias=alias,
                version=version,
                facts=facts,
                limit=limit,
                before=before,
            )
            if alias is not None and not found and before is None:  # it never was one
                lookup.resolve(connection, Ref(name, alias=alias))
            return found

    def deprecation(self, name: str, version: int) -> Event | None:
        """Who said when and why that a version should no longer be used, if that stands."""
        with self.database.read() as connection:
            newest = log.events(connection, name, version=version, kinds=("deprecate",), limit=1)
        return next((event for event in newest if event.data["deprecated"]), None)

    def last_events(self, kind: str) -> dict[str, Event]:
        """Name → its last event of a kind (`apply`, `push`, …), for those that have one."""
        with self.database.read() as connection:
            return log.newest(connection, kind)

    def revision(self) -> int:
        """A number that changes whenever a version, alias or deletion does; cheap to poll."""
        with self.database.read() as connection:
            return versions.read_revision(connection)

    def search(
        self,
        text: str = "",
        *,
        tag: str | None = None,
        base: str | None = None,
        method: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[VersionRow]:
        """Live versions that have every word of `text`, the tag, base and method; newest first."""
        with self.database.read() as connection:
            return search(
                connection, text, tag=tag, base=base, method=method, limit=limit, offset=offset
            )

    def diff(self, before: Ref | str, after: Ref | str) -> Diff:
        """The differences of two releases."""
        sides = [self.resolve(ref) for ref in (before, after)]
        one, other = ((side, self.release(side.digest)) for side in sides)
        return diff(self.read, one, other)

    def lineage(self, ref: Ref | str) -> Lineage:
        """What a release was made from: base, data, code, packages, parents."""
        resolved = self.resolve(ref)
        release = self.release(resolved.digest)
        lock = read_lock(self.read, resolved, release)
        found = ancestors(resolved, self._parents, self._find_release)
        return lineage(resolved, release, lock, found)

    def _parents(self, digest: str) -> tuple[Parent, ...]:
        """What a release was made from, by its record, or by the index if it was deleted."""
        try:
            release = self.release(digest)
            lock = read_lock(self.read, self.resolve(f"{release.name}@{digest}"), release)
            return parents_of(release, lock)
        except (NotFound, IntegrityError):
            with self.database.read() as connection:
                row = lookup.find_release(connection, digest)
                kept = links.parents(connection, digest)
            if not kept and row is not None and row.parent is not None:
                kept = [("parent", row.parent)]
            return tuple(parent_of(relation, target) for relation, target in kept)

    def _find_release(self, text: str) -> AnyRow | None:
        with self.database.read() as connection:
            return lookup.find_release(connection, text)

    def verify(
        self,
        ref: Ref | str | None = None,
        *,
        repair_from: BlobStore | None = None,
        public_keys: Sequence[Path] = (),
    ) -> VerifyReport:
        """Check one release, or with no ref every live one and the index itself.

        Args:
            repair_from: a store to take good bytes from when ours are missing or damaged.
            public_keys: when given, each release must be signed by one of them.
        """
        foreign = identity.difference(self.database, self.blobs)
        if foreign is not None and repair_from is not None:
            raise Refused(foreign, hint="repair the store of this index: set `ADAPTERS_BLOBS`")
        verifier = Verifier(
            self.database, self.blobs, repair_from=repair_from, public_keys=public_keys
        )
        if ref is not None:
            verifier.verify(self.resolve(ref))
            return verifier.report
        for resolved in live_versions(self.database):
            verifier.verify(resolved)
        verifier.verify_index()
        if foreign is not None:
            verifier.report.problems.insert(0, Problem("index", "(store)", None, foreign))
        return verifier.report

    def signatures(self, digest: str) -> dict[str, str]:
        """A release's signatures that were made here: key id → bundle (JSON)."""
        with self.database.read() as connection:
            return signing.stored(connection, digest)

    def all_signatures(self, digest: str) -> dict[str, list[str]]:
        """A release's bundles that count, by the key that is said to have made them."""
        with self.database.read() as connection:
            return signing.known(connection, digest)

    def void_signatures(self, digest: str) -> dict[str, str]:
        """The keys whose signatures of a release do not count any more, and why."""
        with self.database.read() as connection:
            return signing.void(connection, digest)

    def receive_signatures(self, digest: str, bundles: Mapping[str, str], *, who: str) -> None:
        """Keep signatures that came with a release from elsewhere; they are checked when used."""
        with self.database.write() as connection:
            signing.receive(connection, digest, bundles, who=who)

    def require_bundle(self, digest: str, bundle: str, public_keys: Sequence[Path]) -> str:
        """Check a signature that came in a file; returns the id of the key that it is by.

        Raises:
            Refused: it is by none of the keys, of another record, or revoked here.
            NotFound: no such release.
        """
        release = self.release(digest)
        with self.database.read() as connection:
            void = revocation.of(connection, digest)
        keys = {signing.key_id(key): [bundle] for key in public_keys}
        why = {key: reason for key in keys if (reason := void.reason(key)) is not None}
        counting = {key: held for key, held in keys.items() if key not in why}
        what = f"{release.name}@{digest}"
        return signing.require(release.to_bytes(), counting, public_keys, what, why)

    def require_signature(self, digest: str, public_keys: Sequence[Path]) -> str:
        """Check that one of the keys signed the release; returns that key's id.

        Raises:
            Refused: no good signature by any of the keys.
            NotFound: no such release.
        """
        release = self.release(digest)
        with self.database.read() as connection:
            counting, void = signing.known(connection, digest), signing.void(connection, digest)
        what = f"{release.name}@{digest}"
        return signing.require(release.to_bytes(), counting, public_keys, what, void)
