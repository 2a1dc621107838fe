"""A release checked from files alone: no registry, no network, nothing but a public key.

What is looked at is a folder that was pushed (a clone, a download), or a record by itself. Its
bytes are hashed against the record, the record against a signature: a bundle that came another
way, or those in the folder.

Invariant: nothing is written, no file of the folder is opened but those that the record names, and
a link is not one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.lifecycle import signing
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.roles import may_be_withheld
from adapterworks.registry.remotes.hub.layout import FOLDER, RECORD, layout
from adapterworks.registry.remotes.record import MAX_RECORD, parse_record

_MAX_BUNDLE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Offline:
    """What was found.

    Attributes:
        release: of the record.
        key: id of the key whose signature is good.
        right: files whose bytes are the record's; empty for a record by itself.
        absent: files that are not there, which a release may be without.
        wrong: files that are not what the record says, or lack though none is without them.
    """

    release: Release
    key: str
    right: tuple[str, ...]
    absent: tuple[str, ...]
    wrong: tuple[str, ...]


def check_offline(place: Path, bundle: Path | None, public_keys: Sequence[Path]) -> Offline:
    """Check a pushed folder, or a record.

    Args:
        place: a folder with `adapterworks/release.json`, or a record's file.
        bundle: a signature; those in the folder if it is not given.
        public_keys: one of them must have signed.

    Raises:
        NotFound: no record there.
        InvalidInput: no key, or a bundle that is too large.
        IntegrityError: not a record.
        Refused: no good signature by any of the keys.
    """
    if not public_keys:
        raise InvalidInput("whose signature?", hint="name a public key: --key release.pub")
    record = place / RECORD if place.is_dir() else place
    if not record.is_file() or record.is_symlink():
        raise NotFound(f"`{record}` is not there", hint="name a pushed folder, or its record")
    data = _read(record, MAX_RECORD)
    release = parse_record(data, str(place))
    bundles = _bundles(place, release.digest, bundle, public_keys)
    key = signing.require(data, bundles, public_keys, release.name)
    found: dict[str, list[str]] = {"right": [], "absent": [], "wrong": []}
    for target, path in layout(release).items() if place.is_dir() else ():
        found[_state(place / target, release, path)].append(path)
    return Offline(release, key, *(tuple(found[state]) for state in ("right", "absent", "wrong")))


def _state(file: Path, release: Release, path: str) -> str:
    entry = release.files[path]
    if not file.exists() and not file.is_symlink():
        return "absent" if may_be_withheld(path) else "wrong"
    if file.is_symlink() or not file.is_file() or file.stat().st_size != entry.size:
        return "wrong"
    return "right" if digest_file(file) == entry.digest else "wrong"


def _bundles(
    place: Path, digest: str, bundle: Path | None, public_keys: Sequence[Path]
) -> dict[str, list[str]]:
    """The signatures by the key that each is tried with."""
    if bundle is not None:
        text = _read(bundle, _MAX_BUNDLE).decode(errors="replace")
        return {signing.key_id(key): [text] for key in public_keys}
    found: dict[str, list[str]] = {}
    folder = place / FOLDER / "signatures"
    for identity in map(signing.key_id, public_keys):
        name = f"{identity.removeprefix('sha256:')}.json"
        for file in (folder / name, folder / digest.removeprefix("sha256:") / name):
            if file.is_file() and not file.is_symlink():
                text = _read(file, _MAX_BUNDLE).decode(errors="replace")
                found.setdefault(identity, []).append(text)
    return found


def _read(file: Path, limit: int) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(limit + 1)
    if len(data) > limit:
        raise InvalidInput(f"`{file}` has more than {limit} bytes")
    return data
