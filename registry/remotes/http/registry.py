"""A registry over HTTP, as everything else takes it: the methods of `Registry`, asked of a server.

Invariants:
- what a method answers is what the server's registry answers; who acts is whose token it is;
- records and files are read here as there: the same code, over bytes that were hashed here;
- what needs the database or the store itself says so in one sentence, whoever asks: `database` is
  where all such methods end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.refs import Ref, check_alias, check_name, parse_ref
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index import log
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import leases, protection, revocation, signing
from adapterworks.registry.lifecycle import publish as publishing
from adapterworks.registry.lifecycle.approval import Request
from adapterworks.registry.lifecycle.verify import VerifyReport
from adapterworks.registry.reading.diff import Diff
from adapterworks.registry.reading.files import read_release
from adapterworks.registry.reading.lineage import Lineage
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.release import UNNAMED, Draft, Release
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
from adapterworks.registry.remotes.http.blobs import HttpBlobs
from adapterworks.registry.remotes.http.link import Link, part
from adapterworks.registry.remotes.http.verify import verify

_NOT_HERE = "this needs the registry's own database, and `ADAPTERS_REGISTRY` names a server"
_HINT = "do it where the registry is, or unset `ADAPTERS_REGISTRY` for the registry of this machine"


class RemoteRegistry(Registry):
    """A registry behind a server."""

    has_index = False

    def __init__(
        self,
        url: str,
        token: str | None,
        home: Path,
        author: str = UNNAMED,
        *,
        insecure: bool = False,
    ) -> None:
        """Ask nothing yet.

        Args:
            url: of the server, without `/v1/registry`.
            home: folder of this machine's checkouts, and of what is being fetched.
            author: as `Registry.open`.

        Raises:
            InvalidInput: no address, or one to which the token would travel in the clear.
        """
        self.link = Link(url, token, insecure=insecure)
        self.home = home
        self.author = author
        self.checkouts = home / "checkouts"
        self.most_checkouts = None
        self._bytes = HttpBlobs(self.link, home / "fetched")
        self._records: dict[str, Release] = {}

    @property
    def database(self) -> Database:  # type: ignore[override]
        """There is none here.

        Raises:
            InvalidInput: always, with what to do.
        """
        self._refuse()

    @property
    def blobs(self) -> Any:  # type: ignore[override]
        """The bytes behind the server."""
        return self._bytes

    def _refuse(self) -> NoReturn:
        raise InvalidInput(_NOT_HERE, hint=_HINT)

    def close(self) -> None:
        """Close its connections."""
        self.link.close()

    def require_own_store(self) -> None:
        """The server sees to it."""

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
        """Send a folder's files, then publish; `alias` moves after it, by its own right."""
        if guard is not None:
            self._refuse()
        check_name(draft.name)
        if not draft.created_by:
            draft = draft.model_copy(update={"created_by": self.author or UNNAMED})
        release = Release.from_draft(draft, publishing.scan(folder))
        return self._send(folder, release, alias, built=True, why=why)

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
        """Publish a release that was made elsewhere, with all of its files."""
        if withheld:
            raise Refused(
                f"`{release.name}` came without the bytes of {', '.join(sorted(withheld)[:3])}",
                hint="a release without all of its files is adopted where the registry is",
            )
        return self._send(folder, release, alias, built=False, why=why)

    def _send(
        self, folder: Path, release: Release, alias: str | None, *, built: bool, why: str
    ) -> Published:
        if alias is not None:
            check_alias(alias)
            self.require_movable(release.name, alias)
        for path, entry in release.files.items():
            self._bytes.put(entry.digest, folder / path)
        made = self.link.post(
            f"/adapters/{part(release.name)}/versions",
            Published,
            record=release.to_bytes().decode(),
            built=built,
            why=why,
        )
        if alias is not None:
            held = self._aliases(made.name).get(alias, ())
            if not held or held[0].version != made.version:
                self.promote(made.name, made.version, alias, who="", why=why)
        return made

    def require_movable(self, name: str, alias: str | None) -> None:
        """Check that the token may move an alias, and that it is not protected."""
        if alias is None:
            return
        caller = self.link.get("/me", dict[str, Any])
        if caller["role"] not in ("promoter", "admin"):
            raise Refused(
                f"`{caller['name']}` is a {caller['role']}, and moves no alias",
                hint="leave the alias out (`publish.alias` in a manifest), "
                "or use a promoter's token",
            )
        rule = self.settings().aliases.get(alias)
        if rule is not None and rule.concerns(name):
            raise Refused(
                f"`{name}:{alias}` is protected: nothing moves it on the way",
                hint=f"publish first; then: adapters promote {name}@N {alias}",
            )

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
        """Move an alias by compare-and-set."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        return self.link.post(
            self._alias(name, alias), AliasMove, version=version, percent=weight, why=why, **said
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
    ) -> Request:
        """Ask for a move that another person is to approve; the server knows who asks."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        way = f"{self._alias(name, alias)}/requests"
        told = self.link.post(way, dict[str, Any], version=version, percent=weight, why=why, **said)
        return _request(told)

    def requests(self, *, limit: int = 50) -> list[Request]:
        """The moves that were asked for and are not decided."""
        told = self.link.get("/requests", dict[str, Any])
        return [_request(value) for value in told["data"][:limit]]

    def approve(
        self, request: int, *, who: str, why: str = "", makers: Sequence[str] = ()
    ) -> Request:
        """Approve a move that another person asked for; the server knows who approves."""
        return _request(self.link.post(f"/requests/{request}/approval", dict[str, Any], why=why))

    def deny(self, request: int, *, who: str, why: str = "") -> Request:
        """Decide that a move is not made."""
        return _request(self.link.post(f"/requests/{request}/denial", dict[str, Any], why=why))

    def rollback(
        self, name: str, alias: str, *, who: str, why: str = "", expect: int | Unset = UNSET
    ) -> AliasMove:
        """Undo the last standing step of an alias."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        return self.link.post(f"{self._alias(name, alias)}/rollback", AliasMove, why=why, **said)

    def retire(
        self, name: str, alias: str, *, who: str, why: str = "", expect: int | Unset = UNSET
    ) -> Event:
        """Remove an alias."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        return self.link.post(f"{self._alias(name, alias)}/retirement", Event, why=why, **said)

    def delete(
        self, name: str, version: int, *, with_aliases: bool = False, who: str, why: str = ""
    ) -> None:
        """Turn a version into a tombstone."""
        way = f"{self._version(name, version)}/deletion"
        self.link.post(way, VersionRow, with_aliases=with_aliases, why=why)
        self._records.clear()

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
        """Give and take tags."""
        way = f"{self._version(name, version)}/tags"
        told = self.link.post(way, dict[str, Any], add=list(add), remove=list(remove), why=why)
        return tuple(told["tags"])

    def deprecate(
        self, name: str, version: int, *, who: str, why: str, deprecated: bool = True
    ) -> Event:
        """Say that a version should no longer be used, or take that back."""
        way = f"{self._version(name, version)}/deprecation"
        return self.link.post(way, Event, deprecated=deprecated, why=why)

    def note(
        self, name: str, version: int | None, kind: str, *, who: str, why: str = "", **data: Any
    ) -> Event:
        """Append an event of another kind to a version's log."""
        if version is None:
            self._refuse()
        way = f"{self._version(name, version)}/notes"
        return self.link.post(way, Event, kind=kind, data=data, why=why)

    def sign(
        self,
        digest: str,
        private_key: Path,
        *,
        password: str | None = None,
        who: str,
        why: str = "",
    ) -> str:
        """Sign a release's record here, where the key is, and send the signature."""
        _, bundle = signing.sign(self.release(digest).to_bytes(), private_key, password)
        told = self.link.post(
            f"/releases/{digest}/signatures",
            dict[str, Any],
            public_key=signing.public_key_of(private_key, password),
            bundle=bundle,
            why=why,
        )
        return str(told["key"])

    def revoke(self, ref: Ref | str, key: str = revocation.EVERY, *, who: str, why: str) -> Event:
        """Say that what a key, or every one, signed of a release does not count."""
        return self.link.post(f"/releases/{part(str(ref))}/revocation", Event, key=key, why=why)

    def hold(self, *digests: str, kind: str, seconds: float = leases.LEASE_S) -> leases.Lease:
        """Nothing is held there: what is worked with is checked out here."""
        for digest in digests:
            self.find(digest)
        return _NoLease()

    # Reading

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
            self._records[digest] = read_release(self.blobs, digest)
        return self._records[digest]

    def absences(self, digest: str) -> dict[str, Absence]:
        """What is known of a release's files that may not be there, by path."""
        files = self._release(digest)["files"]
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
        return self.link.get(self._version(name, version), VersionRow)

    def digests(self, name: str, beginning: str) -> list[str]:
        """The digests of a name's live versions that begin so."""
        rows = self.link.pages(f"/adapters/{part(name)}/versions", VersionRow)
        return sorted({row.digest for row in rows if row.digest.startswith(beginning)})

    def find_plan(self, name: str, plan: str) -> Resolved | None:
        """The newest live version of a name that was built for it from a plan digest."""
        return next(iter(self._found("plan", plan, name=name)), None)

    def find_stages(self, stage: str, digest: str) -> list[Resolved]:
        """The live versions whose stage has a digest."""
        return self._found("stage", digest, stage=stage)

    def releases_from(self, kind: Literal["parent", "data"], digest: str) -> list[Resolved]:
        """The live versions made from a release or from rows."""
        return self._found(kind, digest)

    def releases_with(self, blob: str) -> list[Resolved]:
        """The live versions that have a blob among their files."""
        return self._found("blob", blob)

    def _found(self, by: str, digest: str, **query: str) -> list[Resolved]:
        told = self.link.get("/found", dict[str, list[Resolved]], by=by, digest=digest, **query)
        return told["data"]

    def weights(self, name: str, alias: str) -> tuple[Weighted, ...]:
        """The alias's holder and canary."""
        held = self._aliases(name).get(alias)
        if held is None:
            self.resolve(Ref(name, alias=alias))  # says that there is none
        return held or ()

    def history(self, name: str, alias: str | None = None) -> list[AliasMove]:
        """Every move of an alias, oldest first."""
        way = f"/adapters/{part(name)}/log"
        found = list(self.link.pages(way, Event, alias=alias))
        return [log.to_move(event) for event in reversed(found) if event.kind in log.MOVES]

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
        """A page of a name's log."""
        way = f"/adapters/{part(name)}/log"
        return self.link.page(
            way, Event, alias=alias, version=version, facts=facts, limit=limit, after=before
        )

    def deprecation(self, name: str, version: int) -> Event | None:
        """Who said that a version should no longer be used, if that stands."""
        said = self._release(f"{name}@{version}")["deprecated"]
        return None if said is None else Event(**said)

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

    def lineage(self, ref: Ref | str) -> Lineage:
        """What a release was made from."""
        resolved = self.resolve(ref)
        way = f"/adapters/{part(resolved.name)}/lineage"
        return self.link.get(way, Lineage, version=resolved.version)

    def verify(
        self,
        ref: Ref | str | None = None,
        *,
        repair_from: BlobStore | None = None,
        public_keys: Sequence[Path] = (),
    ) -> VerifyReport:
        """Fetch and hash every byte of one release, and check its signatures."""
        if ref is None or repair_from is not None:
            self._refuse()
        return verify(self, self.resolve(ref), public_keys)

    def settings(self) -> protection.Settings:
        """The registry's settings."""
        told = self.link.get("/settings", dict[str, Any])
        return protection.Settings.model_validate({"aliases": told["aliases"]})

    def signatures(self, digest: str) -> dict[str, str]:
        """A release's signatures that were made there."""
        return dict(self._release(digest)["own_signatures"])

    def all_signatures(self, digest: str) -> dict[str, list[str]]:
        """A release's bundles that count."""
        return dict(self._release(digest)["signatures"])

    def void_signatures(self, digest: str) -> dict[str, str]:
        """The keys whose signatures do not count any more, and why."""
        return dict(self._release(digest)["revoked"])

    def require_signature(self, digest: str, public_keys: Sequence[Path]) -> str:
        """Check that one of the keys signed the release; returns that key's id."""
        release = self.release(digest)
        bundles, void = self.all_signatures(digest), self.void_signatures(digest)
        what = f"{release.name}@{digest}"
        return signing.require(release.to_bytes(), bundles, public_keys, what, void)

    def _release(self, ref: str) -> dict[str, Any]:
        return self.link.get(f"/releases/{part(ref)}", dict[str, Any])

    def _aliases(self, name: str) -> dict[str, tuple[Weighted, ...]]:
        return self.name(name).aliases

    def _alias(self, name: str, alias: str) -> str:
        return f"/adapters/{part(check_name(name))}/aliases/{part(check_alias(alias))}"

    def _version(self, name: str, version: int) -> str:
        return f"/adapters/{part(check_name(name))}/versions/{version}"


def _request(told: dict[str, Any]) -> Request:
    """A request as a server says it; without `expect` nothing is expected."""
    known = {key: told[key] for key in Request.__slots__ if key in told}
    return Request(**{"expect": UNSET, **known, "approved_by": tuple(told["approved_by"])})


class _NoLease(leases.Lease):
    """Nothing to renew and nothing to give back."""

    def __init__(self, digests: Iterable[str] = ()) -> None:
        pass

    def renew(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def __enter__(self) -> _NoLease:
        return self

    def __exit__(self, *error: object) -> None:
        pass
