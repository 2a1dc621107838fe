"""A release as an image manifest, and a referrer of it: typed, bounded, and a pure function.

    config       the record; its digest is the release's
    layers       each file that was sent, titled with its path, as `oras pull` writes them
    annotations  name, version of the record's time, licence, description

The same release with the same files left out is the same manifest, wherever it is pushed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import IntegrityError, Refused
from adapterworks.registry.imports import strictjson
from adapterworks.registry.remotes.absent import write_absent
from adapterworks.registry.remotes.leaving import Parcel
from adapterworks.registry.remotes.oci import media

_DEPTH = 8
_LAYERS = 10_000
_OURS = "dev.adapterworks.name"


class Descriptor(BaseModel):
    """What a manifest names: a type, a digest, a size in bytes."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    media_type: Annotated[str, Field(alias="mediaType", max_length=255)]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=1 << 50)]
    artifact_type: Annotated[str | None, Field(alias="artifactType", max_length=255)] = None
    annotations: Annotated[dict[str, str], Field(max_length=100)] = Field(default_factory=dict)


class Manifest(BaseModel):
    """An image manifest."""

    model_config = ConfigDict(frozen=True)

    schemaVersion: Literal[2]  # noqa: N815 - the specification's name
    mediaType: Literal["application/vnd.oci.image.manifest.v1+json"]  # noqa: N815
    artifactType: Annotated[str | None, Field(max_length=255)] = None  # noqa: N815
    config: Descriptor
    layers: Annotated[tuple[Descriptor, ...], Field(max_length=_LAYERS)]
    subject: Descriptor | None = None
    annotations: Annotated[dict[str, str], Field(max_length=100)] = Field(default_factory=dict)


class Index(BaseModel):
    """An image index; here, of what refers to a manifest."""

    model_config = ConfigDict(frozen=True)

    schemaVersion: Literal[2]  # noqa: N815
    mediaType: Literal["application/vnd.oci.image.index.v1+json"] = (  # noqa: N815
        "application/vnd.oci.image.index.v1+json"
    )
    manifests: Annotated[tuple[Descriptor, ...], Field(max_length=_LAYERS)]


def parse_manifest(data: bytes, where: str) -> Manifest:
    """A manifest from elsewhere.

    Raises:
        Refused: it is an index, or of something else than a release.
        IntegrityError: it is not a manifest.
    """
    table = strictjson.parse(data, file="the manifest", max_depth=_DEPTH)
    if isinstance(table, dict) and table.get("mediaType") != media.MANIFEST:
        said = str(table.get("mediaType"))[:100]
        raise Refused(f"`{where}` is no artifact, but `{said}`", hint="name the tag of one release")
    try:
        return Manifest.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(f"the manifest of `{where}`: `{at}`: {first['msg']}") from error


def parse_index(data: bytes, where: str) -> Index:
    """An index of referrers from elsewhere.

    Raises:
        IntegrityError: it is not one.
    """
    table = strictjson.parse(data, file="the index", max_depth=_DEPTH)
    try:
        return Index.model_validate(table)
    except ValidationError as error:
        raise IntegrityError(f"what refers to `{where}` is not an index") from error


def release_manifest(parcel: Parcel) -> tuple[bytes, dict[str, bytes]]:
    """The manifest of a release and the small blobs that are written for it, by digest."""
    release = parcel.release
    record = release.to_bytes()
    blobs = {release.digest: record}
    layers = [
        _descriptor(
            media.media_type(path), release.files[path].digest, release.files[path].size, path
        )
        for path in parcel.sent
    ]
    if parcel.left_out:
        statement = write_absent(parcel.left_out)
        blobs[digest_bytes(statement)] = statement
        layers.append(_descriptor(media.ABSENT, digest_bytes(statement), len(statement)))
    annotations = {
        "org.opencontainers.image.created": release.created,
        "org.opencontainers.image.licenses": release.license,
        "org.opencontainers.image.description": release.description,
        _OURS: release.name,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": media.RELEASE,
        "config": _descriptor(media.RECORD, release.digest, len(record)),
        "layers": layers,
        "annotations": {key: value for key, value in annotations.items() if value},
    }
    return canonical_json(manifest), blobs


def referrer_manifest(
    kind: str, subject: bytes, layer: Mapping[str, Any], annotations: Mapping[str, str]
) -> bytes:
    """The manifest of something that refers to a release's manifest.

    Args:
        kind: its artifact type.
        subject: the release's manifest.
        layer: the descriptor of its one file.
    """
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": media.MANIFEST,
            "artifactType": kind,
            "config": _descriptor(media.EMPTY_TYPE, digest_bytes(media.EMPTY), len(media.EMPTY)),
            "layers": [dict(layer)],
            "subject": _descriptor(media.MANIFEST, digest_bytes(subject), len(subject)),
            "annotations": dict(annotations),
        }
    )


def descriptor(kind: str, data: bytes, title: str | None = None) -> dict[str, Any]:
    """The descriptor of some bytes."""
    return _descriptor(kind, digest_bytes(data), len(data), title)


def _descriptor(kind: str, digest: str, size: int, title: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"mediaType": kind, "digest": digest, "size": size}
    return found | ({"annotations": {media.TITLE: title}} if title is not None else {})
