"""OCI registries (Docker's distribution, Harbor, Zot, GHCR, ECR, …) as places of releases.

Invariant: a release is one image manifest whose config is the record itself, so the digest of the
config is the release's name; its files are layers by digest; what was made later (signatures) or is
read by other tools (SBOM, provenance) refers to it.

    names.py        `oci://host/org/name:tag@sha256:…`, parsed once
    credentials.py  what docker's config.json knows of a host
    auth.py         basic and bearer, as a registry asks for them
    client.py       the few calls we make; errors.py its errors as ours
    uploads.py      blobs in chunks, continued after a kill
    manifest.py     a release as a manifest, typed and bounded
    held.py         a release there
    push.py         a release becomes one there
    referrers.py    what refers to it

Specification: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
"""
