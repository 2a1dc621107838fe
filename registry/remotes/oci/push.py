"""Push: a release becomes a manifest with its blobs and a tag; the digest goes into its log.

    who may read there → blobs → manifest under its tag → what refers to it → log

Invariants: who may read the repository is known, and said, before anything of the release is sent;
a tag that names something else is never moved; what is there is not sent again, and a push that was
killed is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, Refused
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved
from adapterworks.registry.remotes.leaving import Parcel, pack, same_bytes
from adapterworks.registry.remotes.oci import media
from adapterworks.registry.remotes.oci.client import Client
from adapterworks.registry.remotes.oci.manifest import parse_manifest, release_manifest
from adapterworks.registry.remotes.oci.names import OciName
from adapterworks.registry.remotes.oci.referrers import refer
from adapterworks.registry.remotes.oci.uploads import CHUNK, Uploads
from adapterworks.registry.remotes.pushed import Pushed, note_push

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
    parcel = pack(registry, resolved, withhold=withhold, include=include)
    parcel.require_portable()
    tag = tag or f"v{resolved.version}"
    uploads = Uploads(client, scratch / f"uploads-{_short(client)}.json", chunk=chunk)
    _look(client, uploads, private, say)
    there, created, absent = send(client, uploads, parcel, tag)
    for alias in aliases:
        client.put_manifest(alias, there, media.MANIFEST)
    if not created and refer(client, uploads, there, parcel):
        say("pushed signatures that were made since")
    digest = digest_bytes(there)
    note_push(
        registry,
        resolved,
        who=who,
        repository=client.name.repository,
        endpoint=client.endpoint,
        commit=digest,
        tag=tag,
        absent=absent,
    )
    return Pushed(
        name=resolved.name,
        version=resolved.version,
        digest=resolved.digest,
        repository=f"{client.name}",
        commit=digest,
        tag=tag,
        url=str(OciName(client.name.host, client.name.repository, tag, digest)),
        created=created,
        withheld=tuple(sorted(absent)),
        exposed=tuple(sorted(parcel.left_out.keys() - absent)),
        tells=parcel.told(parcel.release.files.keys() - absent),
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
