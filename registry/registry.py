"""The registry: one object in front of blobs and index, the API that builders and gateway code use.

    registry.publish(…) .resolve(ref) .read(digest, path) .promote(name, version, alias)   every day
    registry.approvals .protection .signatures .log .origins .upkeep      a concern, an object each

What is listed and its bytes are the catalog's (`catalog.py`); what changes an alias or a version is
here; what has rules of its own has an object of its own (`facets/`), over the same catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.refs import check_alias, check_name
from adapterworks.registry.blobs.open import open_blobs
from adapterworks.registry.blobs.store import Store
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.facets.approvals import Approvals
from adapterworks.registry.facets.log import Log
from adapterworks.registry.facets.origins import Origins
from adapterworks.registry.facets.protection import Protection
from adapterworks.registry.facets.signatures import Signatures
from adapterworks.registry.facets.upkeep import Upkeep
from adapterworks.registry.index import log, lookup, migrations, tags
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import aliases, leases
from adapterworks.registry.lifecycle import publish as publishing
from adapterworks.registry.lifecycle import purge as purging
from adapterworks.registry.releases.release import UNNAMED, Draft, Release
from adapterworks.registry.releases.types import UNSET, AliasMove, Event, Published, Unset


class Registry(Catalog):
    """An open registry.

    Attributes:
        approvals: moves of aliases that one person asks for and another approves.
        protection: which aliases are protected, and what they ask for.
        signatures: who signed which release.
        log: what happened to a name.
        origins: what was made of what.
        upkeep: verifying, erasing, collecting what nobody needs.
    """

    def __init__(
        self,
        database: Database,
        blobs: Store,
        home: Path,
        author: str = UNNAMED,
        most_checkouts: int | None = None,
    ) -> None:
        """Use stores that are open; `Registry.open` is the usual way."""
        super().__init__(database, blobs, home, author, most_checkouts)
        self.protection = Protection(self)
        self.approvals = Approvals(self, self.protection)
        self.signatures = Signatures(self)
        self.log = Log(self)
        self.origins = Origins(self)
        self.upkeep = Upkeep(self)

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
            # Builds, samples and captured metadata are in it; who wants to share it makes it.
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:  # a read-only disk, or a file of that name
            raise Unavailable(
                f"`{home}` cannot be made: {error.strerror}",
                hint="set `ADAPTERS_HOME` to a folder that can be written",
            ) from error
        store = open_blobs(blobs)
        opened = Database(database)
        try:
            opened.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
        except BaseException:
            opened.close()
            raise
        return cls(opened, store, home, author, most_checkouts)

    def publish(
        self,
        folder: Path,
        draft: Draft,
        *,
        alias: str | None = None,
        who: str,
        why: str = "",
        since: int | None = None,
        guard: publishing.Guard | None = None,
    ) -> Published:
        """Publish a folder's files as the next version of `draft.name`.

        A draft that does not say who it is by gets the registry's author.

        The same draft with the same bytes is the same release: it is published once, and
        publishing it again returns its version with `created` false. `alias` moves in the same
        transaction that lists the version. `guard` is asked in it first: what it raises keeps the
        version from being listed.

        Args:
            since: a sequence of the name's log: where somebody moved the alias after it, it stays
                there, and `Published.kept` says who did.

        Raises:
            InvalidInput: the folder is empty or holds something else than plain files.
        """
        check_name(draft.name)
        if alias is not None:
            check_alias(alias)
        self.require_own_store()
        act = publishing.Act(who, why, alias, since=since, guard=guard)
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
                now on; those that are here already stay, and are not its own to be sent on.

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
        since: int | None = None,
    ) -> AliasMove:
        """Move an alias by compare-and-set; see `aliases.promote`.

        Raises:
            Refused: the alias is protected and the version lacks what it asks for.
        """
        while True:
            with self.database.read() as connection:
                seen = log.head(connection, name)
            cleared = self.protection.clear(name, version, alias)
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
                    since=since,
                )

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
            purging.delete(connection, name, version, with_aliases=with_aliases, who=who, why=why)

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

    def hold(self, *digests: str, kind: str, seconds: float = leases.LEASE_S) -> leases.Lease:
        """Keep releases' bytes from gc while a build or a gateway uses them.

        Args:
            kind: `build` or `serving`.

        Raises:
            NotFound: a release was deleted or never published.
        """
        return leases.Lease(self.database, kind, digests, seconds)
