"""Signatures in a repository: one bundle a key, `adapterworks/signatures/<key id>.json`.

Invariant: they are carried, not believed. A pulled bundle counts when a trusted public key says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import FOLDER

_PLACE = re.compile(rf"{FOLDER}/signatures/(?P<key>[0-9a-f]{{64}})\.json")
_MOST = 16
_MAX = 256 << 10  # bytes of one


def signature_files(bundles: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    """Repository path → bundle, the first of each key."""
    return {
        f"{FOLDER}/signatures/{key.removeprefix('sha256:')}.json": held[0].encode()
        for key, held in sorted(bundles.items())
    }


def fetch_signatures(hub: Hub, state: RepoState, scratch: Path) -> dict[str, str]:
    """The bundles of a repository by key id; what is too large or not text is left."""
    places = [match for path in sorted(state.files) if (match := _PLACE.fullmatch(path))]
    found: dict[str, str] = {}
    for match in places[:_MOST]:
        if state.files[match[0]] <= _MAX:
            with scratch_folder(scratch, "signature") as folder:
                data = hub.download(state, match[0], folder, limit=_MAX).read_bytes()
            found[f"sha256:{match['key']}"] = data.decode(errors="replace")
    return found
