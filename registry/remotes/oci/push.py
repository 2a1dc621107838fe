"""Push: a release becomes a manifest with its blobs and a tag; the digest goes into its log.

    who may read there → blobs → manifest under its tag → what refers to it → log

Invariants: who may read the repository is known, and said, before anything of the release is sent;
a tag that names something else is never moved; what is there is not sent again, and a push that was
killed is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, Refused
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved
from adapterworks.registry.remotes import delivering
from adapterworks.registry.remotes.delivering import Delivered
from adapterworks.registry.remotes.leaving import Parcel, same_bytes
from adapterworks.registry.remotes.oci import media
from adapterworks.registry.remotes.oci.client import Client
from adapterworks.registry.remotes.oci.manifest import parse_manifest, release_manifest
from adapterworks.registry.remotes.oci.names import OciName
from adapterworks.registry.remotes.oci.referrers import refer
from adapterworks.registry.remotes.oci.uploads import CHUNK, Uploads
from adapterworks.registry.remotes.pushed import Pushed

_SEEN = {True: "private", False: "PUBLIC: anybody may read what is pushed"}
_EMPTY = digest_bytes(media.EMPTY)


def push(
    registry: Registry,
    client: Client,
    resolved: Resolved,
    tag: str | None,
    *,
    who: str,
    scratch: Path,
    private: bool = True,
    aliases: Sequence[str] = (),
    withhold: Sequence[str] = (),
    include: Sequence[str] = (),
    chunk: int = CHUNK,
    say: Callable[[str], None] = lambda line: None,
) -> Pushed:
    """Push a version to a repository.

    Args:
        tag: the tag; `v<version>` if it is not given.
        scratch: a folder for what is remembered of uploads.
        private: refuse a repository that anybody may read.
        aliases: tags that are moved to it besides, as aliases are.
        withhold, include: patterns, as `leaving.pack` takes them.
        chunk: bytes sent at once.
        say: told who may see the repository, before anything of the release is sent.

    Raises:
        InvalidInput: a pattern means weights, or something that the record withholds.
        Conflict: the tag names something else.
        Refused: we may not write there, anybody may read there, or the record tells of a machine.
    """
    destination = OciRepository(client, scratch, aliases=tuple(aliases), chunk=chunk)
    return delivering.push(
        registry,
        destination,
        resolved,
        who=who,
        private=private,
        withhold=withhold,
        include=include,
        tag=tag,
        say=say,
    )


@dataclass(frozen=True, slots=True)
class OciRepository:
    """A repository that takes releases; see `delivering.Destination`.

    Attributes:
        scratch: a folder for what is remembered of uploads.
        aliases: tags that are moved to the release besides its own.
        chunk: bytes sent at once.
    """

    client: Client
    scratch: Path
    aliases: tuple[str, ...] = ()
    chunk: int = CHUNK

    def deliver(self, parcel: Parcel, *, private: bool, say: Callable[[str], None]) -> Delivered:
        """See `Destination.deliver`."""
        client = self.client
        parcel.require_portable()
        state = self.scratch / f"uploads-{_short(client)}.json"
        uploads = Uploads(client, state, chunk=self.chunk)
        _look(client, uploads, private, say)
        there, created, absent = send(client, uploads, parcel, parcel.tag)
        for alias in self.aliases:
            client.put_manifest(alias, there, media.MANIFEST)
        if not created and refer(client, uploads, there, parcel):
            say("pushed signatures that were made since")
        name, digest = client.name, digest_bytes(there)
        return Delivered(
            repository=name.repository,
            endpoint=client.endpoint,
            commit=digest,
            tag=parcel.tag,
            url=str(OciName(name.host, name.repository, parcel.tag, digest)),
            created=created,
            absent=absent,
        )


def send(
    client: Client, uploads: Uploads, parcel: Parcel, tag: str
) -> tuple[bytes, bool, set[str]]:
    """Send what is not there yet.

    Returns:
        the manifest that the tag names, whether this call put it there, and the paths of the
        release whose bytes are not with it.

    Raises:
        Conflict: the tag names something else.
    """
    release = parcel.release
    found = client.manifest(tag)
    if found is not None:
        manifest = parse_manifest(found[1], f"{client.name}:{tag}")
        if manifest.config.digest != release.digest:
            raise Conflict(
                f"`{client.name}:{tag}` is something else already ({found[0]})",
                hint="push to another tag or a repository of its own",
            )
        held = {layer.digest for layer in manifest.layers}
        gone = {path for path, entry in release.files.items() if entry.digest not in held}
        return found[1], False, gone
    made, blobs = release_manifest(parcel)
    for path in parcel.sent:
        uploads.send(release.files[path].digest, parcel.file(path))
    for digest, data in blobs.items():
        uploads.send(digest, data)
    client.put_manifest(digest_bytes(made), made, media.MANIFEST)
    refer(client, uploads, made, parcel)
    client.put_manifest(tag, made, media.MANIFEST)
    return made, True, same_bytes(release, parcel.left_out)


def _look(client: Client, uploads: Uploads, private: bool, say: Callable[[str], None]) -> None:
    """Say who may read there, and refuse where that is not what was asked for.

    Registries do not tell. The empty blob, which says nothing, is put there, and asked for by
    somebody who is not logged in.
    """
    uploads.send(_EMPTY, media.EMPTY)
    with client.anybody() as anybody:
        public = anybody.may_read(_EMPTY)
    say(f"{client.name} is {_SEEN[not public]}")
    if public and private:
        raise Refused(
            f"`{client.name}` is public, a private push was asked for",
            hint="make it private in the registry, push elsewhere, or say so: `--public`",
        )


def _short(client: Client) -> str:
    """A file name for a repository."""
    return digest_bytes(f"{client.endpoint}/{client.name.repository}".encode())[7:31]
