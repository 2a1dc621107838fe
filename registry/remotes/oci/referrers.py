"""What refers to a release's manifest: signatures, and files that other tools look for there.

A registry of the specification's version 1.1 lists them itself; for an older one the tag
`sha256-<digest>` holds the list, as the specification's fallback says.

Invariant: signatures are carried, not believed. A pulled bundle counts when a trusted key says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import Conflict, IntegrityError
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.remotes.leaving import Parcel
from adapterworks.registry.remotes.oci import media
from adapterworks.registry.remotes.oci.client import Client
from adapterworks.registry.remotes.oci.manifest import (
    Descriptor,
    Index,
    descriptor,
    parse_index,
    parse_manifest,
    referrer_manifest,
)
from adapterworks.registry.remotes.oci.uploads import Uploads

_MOST = 16  # signatures
_MAX = 256 << 10  # bytes of one
_KEY = re.compile(r"sha256:[0-9a-f]{64}")
_TURNS = 5


def refer(client: Client, uploads: Uploads, manifest: bytes, parcel: Parcel) -> int:
    """Push what refers to a release and is not there yet; returns how many were pushed."""
    digest = digest_bytes(manifest)
    there = {found.digest for found in list_referrers(client, digest)}
    pushed = 0
    for made, blobs in _referrers(manifest, parcel):
        if digest_bytes(made) in there:
            continue
        for name, data in blobs.items():
            uploads.send(name, data)
        if not client.put_manifest(digest_bytes(made), made, media.MANIFEST):
            _list_by_tag(client, digest, made)
        pushed += 1
    return pushed


def list_referrers(client: Client, digest: str) -> tuple[Descriptor, ...]:
    """What refers to a manifest, as the registry or the tag tells it."""
    data = client.referrers(digest)
    if data is None:
        found = client.manifest(_tag(digest))
        data = None if found is None else found[1]
    return () if data is None else parse_index(data, f"{client.name}@{digest}").manifests


def fetch_signatures(client: Client, digest: str, scratch: Path) -> dict[str, str]:
    """The bundles that refer to a manifest, by key id; what is too large or strange is left."""
    found: dict[str, str] = {}
    kinds = [entry for entry in list_referrers(client, digest)
             if entry.artifact_type == media.SIGNATURE and entry.size <= _MAX]  # fmt: skip
    for entry in kinds[:_MOST]:
        held = client.manifest(entry.digest)
        if held is None:
            continue
        manifest = parse_manifest(held[1], f"{client.name}@{entry.digest}")
        key = manifest.annotations.get(media.KEY, "")
        layer = manifest.layers[0] if len(manifest.layers) == 1 else None
        if layer is None or layer.size > _MAX or not _KEY.fullmatch(key):
            continue
        with scratch_folder(scratch, "signature") as folder:
            client.fetch(layer.digest, folder / "bundle", limit=layer.size)
            data = (folder / "bundle").read_bytes()
        if digest_bytes(data) != layer.digest:
            raise IntegrityError(f"a signature of `{client.name}@{digest}` has other bytes")
        found.setdefault(key, data.decode(errors="replace"))
    return found


def _referrers(manifest: bytes, parcel: Parcel) -> Sequence[tuple[bytes, Mapping[str, bytes]]]:
    """The manifests to be there, each with the blobs that it names and the release has not."""
    empty = {digest_bytes(media.EMPTY): media.EMPTY}
    made = []
    for key, bundles in sorted(parcel.signatures.items()):
        for bundle in bundles:
            data = bundle.encode()
            layer = descriptor(media.SIGNATURE, data, "signature.json")
            made.append(
                (
                    referrer_manifest(media.SIGNATURE, manifest, layer, {media.KEY: key}),
                    {**empty, digest_bytes(data): data},
                )
            )
    for path, kind in media.REFERRING.items():
        if path in parcel.sent:
            entry = parcel.release.files[path]
            layer = {"mediaType": kind, "digest": entry.digest, "size": entry.size,
                     "annotations": {media.TITLE: path}}  # fmt: skip
            made.append((referrer_manifest(kind, manifest, layer, {}), empty))
    return made


def _list_by_tag(client: Client, subject: str, made: bytes) -> None:
    """Add a manifest to the list that a tag holds; somebody else's addition is kept."""
    tag = _tag(subject)
    manifest = parse_manifest(made, str(client.name))
    entry = Descriptor(
        media_type=media.MANIFEST,
        digest=digest_bytes(made),
        size=len(made),
        artifact_type=manifest.artifactType,
        annotations=manifest.annotations,
    )
    for _ in range(_TURNS):
        found = client.manifest(tag)
        listed = parse_index(found[1], f"{client.name}:{tag}").manifests if found else ()
        if any(other.digest == entry.digest for other in listed):
            return
        index = Index(schemaVersion=2, manifests=(*listed, entry))
        table = index.model_dump(mode="json", by_alias=True, exclude_none=True)
        client.put_manifest(tag, canonical_json(table), media.INDEX)
    raise Conflict(
        f"`{client.name}:{tag}` is written by somebody else all the time",
        hint="push again: only what refers to the release is not there yet",
    )


def _tag(digest: str) -> str:
    return digest.replace(":", "-", 1)
