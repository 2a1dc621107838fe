"""Media types: the specification's, and ours."""

from __future__ import annotations

from pathlib import PurePosixPath

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"  # the blob that stands where a manifest needs one and nothing is to be said
TITLE = "org.opencontainers.image.title"

RELEASE = "application/vnd.adapterworks.release.v1"
RECORD = "application/vnd.adapterworks.record.v1+json"
ABSENT = "application/vnd.adapterworks.absent.v1+json"
SIGNATURE = "application/vnd.dev.sigstore.bundle.v0.3+json"
KEY = "dev.adapterworks.signature.key"
# What others look for among the referrers, by the name of a file at a release's top.
REFERRING = {
    "provenance.json": "application/vnd.in-toto+json",
    "sbom.cdx.json": "application/vnd.cyclonedx+json",
}
_BY_SUFFIX = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".png": "image/png",
    ".safetensors": "application/vnd.adapterworks.weights.v1+safetensors",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}


def media_type(path: str) -> str:
    """The type of a release's file."""
    if path in REFERRING:
        return REFERRING[path]
    return _BY_SUFFIX.get(PurePosixPath(path).suffix, "application/octet-stream")
