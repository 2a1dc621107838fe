"""Release files ↔ repository paths.

    adapter/…             → the root, where PEFT looks   (full/… for a full fine-tuning)
    README.md             → adapterworks/README.md; the root's README.md is the card with metadata
    everything else       → the same path
    the release's record  → adapterworks/release.json
    what is left out      → adapterworks/absent.json, if anything is
    signatures            → adapterworks/signatures/

A file whose bytes are in the repository already (the servable form of a LoRA is the adapter
itself) is not stored twice: a pull finds files by digest. The map is a pure function of the record,
so a pull needs nothing but the record to put the release together again.
"""

from __future__ import annotations

from adapterworks.registry.releases.release import ADAPTER, FULL, SERVABLE, Release

FOLDER = "adapterworks"
RECORD = f"{FOLDER}/release.json"
ABSENT = f"{FOLDER}/absent.json"
CARD = "README.md"
ATTRIBUTES = ".gitattributes"


def layout(release: Release) -> dict[str, str]:
    """Repository path → release path, each digest once."""
    root = root_role(release)
    order = sorted(release.files, key=lambda path: (not path.startswith(f"{root}/"), path))
    placed: dict[str, str] = {}
    digests: set[str] = set()
    for path in order:
        digest = release.files[path].digest
        if digest in digests:
            continue
        target = path.removeprefix(f"{root}/")
        if target in placed or target in (CARD, ATTRIBUTES) or target.startswith(f"{FOLDER}/"):
            target = f"{FOLDER}/{path}"
        placed[target] = path
        digests.add(digest)
    return placed


def root_role(release: Release) -> str:
    """The role whose files are at the repository's root."""
    for role in (ADAPTER, FULL, SERVABLE):
        if any(path.startswith(f"{role}/") for path in release.files):
            return role
    return ADAPTER
