"""Signatures in a repository: one bundle a key, `adapterworks/signatures/<key id>.json`.

Those that were made after the release was pushed stand on `main`, under the release's digest:
`adapterworks/signatures/<digest>/<key id>.json`. Its commit and its tag stay what they were.

Invariant: they are carried, not believed. A pulled bundle counts when a trusted public key says so.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import FOLDER

_PLACE = re.compile(rf"{FOLDER}/signatures/(?P<key>[0-9a-f]{{64}})\.json")
_LATE = re.compile(rf"{FOLDER}/signatures/(?P<digest>[0-9a-f]{{64}})/(?P<key>[0-9a-f]{{64}})\.json")
_MOST = 16
_MAX = 256 << 10  # bytes of one


def signature_files(bundles: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """Repository path → bundle, the first of each key."""
    return {
        f"{FOLDER}/signatures/{key.removeprefix('sha256:')}.json": held[0].encode()
        for key, held in sorted(bundles.items())
    }


def late_files(
    bundles: Mapping[str, Sequence[str]], digest: str, there: Container[str]
) -> dict[str, bytes]:
    """Those that a release's commit (its paths are `there`) has not: path on `main` → bundle."""
    folder = f"{FOLDER}/signatures/{digest.removeprefix('sha256:')}"
    return {
        f"{folder}/{path.rpartition('/')[2]}": bundle
        for path, bundle in signature_files(bundles).items()
        if path not in there
    }


def is_late(path: str) -> bool:
    """Whether it is a signature of whichever release, which the next one leaves where it is."""
    return _LATE.fullmatch(path) is not None


def fetch_late(hub: Hub, state: RepoState, digest: str, scratch: Path) -> dict[str, str]:
    """The bundles of a release that were made after it was pushed, by key id.

    Args:
        state: of `main`.
    """
    found = (match for path in sorted(state.files) if (match := _LATE.fullmatch(path)))
    return _fetched(hub, state, [m for m in found if f"sha256:{m['digest']}" == digest], scratch)


def fetch_signatures(hub: Hub, state: RepoState, scratch: Path) -> dict[str, str]:
    """The bundles of a repository by key id; what is too large or not text is left."""
    places = [match for path in sorted(state.files) if (match := _PLACE.fullmatch(path))]
    return _fetched(hub, state, places, scratch)


def _fetched(
    hub: Hub, state: RepoState, places: Sequence[re.Match[str]], scratch: Path
) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in places[:_MOST]:
        if state.files[match[0]] <= _MAX:
            with scratch_folder(scratch, "signature") as folder:
                data = hub.download(state, match[0], folder, limit=_MAX).read_bytes()
            found[f"sha256:{match['key']}"] = data.decode(errors="replace")
    return found
