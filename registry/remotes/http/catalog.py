"""The catalog of a registry behind a server: the same methods, asked of it.

Invariants:
- what a method answers is what the server's registry answers; who acts is whose token it is;
- records and files are read here as there: the same code, over bytes that were hashed here;
- what needs the database or the store itself says so in one sentence, whoever asks: `database` is
  where all such methods end.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.refs import Ref, parse_ref
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.index import log
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import eviction
from adapterworks.registry.reading.diff import Diff
from adapterworks.registry.reading.files import read_release
from adapterworks.registry.reading.seen import Seen
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.release import UNNAMED, Release
from adapterworks.registry.releases.types import (
    AliasMove,
    Event,
    NameRow,
    Resolved,
    VersionRow,
    Weighted,
)
from adapterworks.registry.remotes.http.blobs import HttpBlobs
from adapterworks.registry.remotes.http.link import Link, Token, part
from adapterworks.registry.remotes.http.paths import version_path

NOT_HERE = "this needs the registry's own database, and `ADAPTERS_REGISTRY` names a server"
NOT_HERE_HINT = (
    "do it where the registry is, or unset `ADAPTERS_REGISTRY` for the registry of this machine"
)


class RemoteCatalog(Catalog):
    """What a registry behind a server has, and its bytes."""

    has_index = False

    def __init__(
        self,
        url: str,
        token: Token,
        home: Path,
        author: str = UNNAMED,
        *,
        insecure: bool = False,
        most_checkouts: int | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            url: of the server, without `/v1/registry`.
            home: folder of this machine's checkouts, and of what is being fetched.
            author: as `Registry.open`.
            most_checkouts: bytes that this machine's checkouts may take; those that were asked for
                longest ago, but not within a day, make room.

        Raises:
            InvalidInput: no address, or one to which the token would travel in the clear.
        """
        self.link = Link(url, token, insecure=insecure)
        self.home = home
        self.author = author
        self.checkouts = home / "checkouts"
        self._seen = Seen()
        self.most_checkouts = most_checkouts
        self._bytes = HttpBlobs(self.link, home / "fetched")
        self._records: dict[str, Release] = {}

    @property
    def database(self) -> Database:  # type: ignore[override]
        """There is none here.

        Raises:
            InvalidInput: always, with what to do.
        """
        self.refuse()

    @property
    def blobs(self) -> Any:  # type: ignore[override]
        """The bytes behind the server."""
        return self._bytes

    def refuse(self) -> NoReturn:
        """Say that something is done where the registry is.

        Raises:
            InvalidInput: always, with what to do.
        """
        raise InvalidInput(NOT_HERE, hint=NOT_HERE_HINT)

    def close(self) -> None:
        """Close its connections."""
        self.link.close()

    def place(self) -> str:
        """The server's address."""
        return self.link.url

    def require_own_store(self) -> None:
        """The server sees to it."""

    def resolve(self, ref: Ref | str) -> Resolved:
        """What a ref stands for now."""
        parsed = parse_ref(ref) if isinstance(ref, str) else ref
        return self.link.get(f"/refs/{part(str(parsed))}", Resolved)

    def find(self, digest: str) -> Resolved:
        """The live version of a release digest."""
        if not DIGEST_PATTERN.fullmatch(digest):
            raise InvalidInput(f"`{digest}` is not a digest")
        return self.link.get(f"/refs/{digest}", Resolved)

    def release(self, digest: str) -> Release:
        """The record of a release, hashed here; a record never changes, so it is fetched once."""
        if digest not in self._records:
            self.find(digest)
            found = self._records[digest] = read_release(self.blobs, digest)
            self._bytes.expect({entry.digest: entry.size for entry in found.files.values()})
        return self._records[digest]

    def _make_room(self, most: int) -> None:
        """As there, but that no lease is asked: what is held from here counts as just asked for."""
        eviction.make_room(
            self.checkouts, most, lambda _: nullcontext(True), unused_s=eviction.IN_USE_S
        )

    def absences(self, digest: str) -> dict[str, Absence]:
        """What is known of a release's files that may not be there, by path."""
        files = self.said(digest)["files"]
        return {
            file["path"]: Absence(**file["absent"]) for file in files if file["absent"] is not None
        }

    def names(self, *, limit: int = 50, after: str | None = None, text: str = "") -> list[NameRow]:
        """A page of names."""
        return self.link.page("/adapters", NameRow, limit=limit, after=after, q=text)

    def name(self, name: str) -> NameRow:
        """One name's row."""
        return self.link.get(f"/adapters/{part(name)}", NameRow)

    def require_name(self, name: str) -> None:
        """Check that a name exists."""
        self.name(name)

    def versions(
        self, name: str, *, limit: int = 50, before: int | None = None, deleted: bool = False
    ) -> list[VersionRow]:
        """A page of a name's versions."""
        way = f"/adapters/{part(name)}/versions"
        return self.link.page(way, VersionRow, limit=limit, after=before, deleted=deleted)

    def version(self, name: str, version: int) -> VersionRow:
        """One version's row."""
        return self.link.get(version_path(name, version), VersionRow)

    def digests(self, name: str, beginning: str) -> list[str]:
        """The digests of a name's live versions that begin so."""
        rows = self.link.pages(f"/adapters/{part(name)}/versions", VersionRow)
        return sorted({row.digest for row in rows if row.digest.startswith(beginning)})

    def weights(self, name: str, alias: str) -> tuple[Weighted, ...]:
        """The alias's holder and canary."""
        held = self.name(name).aliases.get(alias)
        if held is None:
            self.resolve(Ref(name, alias=alias))  # says that there is none
        return held or ()

    def history(self, name: str, alias: str | None = None) -> list[AliasMove]:
        """Every move of an alias, oldest first."""
        way = f"/adapters/{part(name)}/log"
        found = list(self.link.pages(way, Event, alias=alias))
        return [log.to_move(event) for event in reversed(found) if event.kind in log.MOVES]

    def revision(self) -> int:
        """A number that changes whenever a version, alias or deletion does."""
        return int(self.link.get("/me", dict[str, Any])["revision"])

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
        """Live versions that have all that is said."""
        return self.link.page(
            "/search",
            VersionRow,
            q=text,
            tag=tag,
            base=base,
            method=method,
            limit=limit,
            offset=offset,
        )

    def diff(self, before: Ref | str, after: Ref | str) -> Diff:
        """The differences of two releases."""
        return self.link.get(f"/releases/{part(str(before))}/diff/{part(str(after))}", Diff)

    def said(self, ref: str) -> dict[str, Any]:
        """What the server says of a release."""
        return self.link.get(f"/releases/{part(ref)}", dict[str, Any])
