"""A pushed release as a store to repair from: its own bytes, checked, and nothing is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import pytest

from adapterworks.manifests.errors import IntegrityError, Refused
from adapterworks.registry.blobs.store import MissingBlob
from adapterworks.registry.releases.release import FileEntry, Release
from adapterworks.registry.remotes.blobs import HeldBlobs
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.held import HubRelease
from adapterworks.registry.remotes.hub.names import HubSource
from tests.registry.releases import draft
from tests.registry.remotes.hub.memory import REPOSITORY, MemoryHub

RECORD = "adapterworks/release.json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


CONTENT = {"adapter/w": b"weights", "servable/w": b"weights", "README.md": b"# card\n"}
RELEASE = Release.from_draft(
    draft(),
    {
        path: FileEntry.at(path, digest=digest(data), size=len(data))
        for path, data in CONTENT.items()
    },
)
PUSHED = {
    "w": b"weights",
    "adapterworks/README.md": b"# card\n",
    "README.md": b"the Hub's card\n",
    RECORD: RELEASE.to_bytes(),
}


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


def store_of(hub: MemoryHub, scratch: Path) -> HeldBlobs:
    state = hub.state(HubSource(REPOSITORY))
    return HeldBlobs(HubRelease(cast(Hub, hub), state, scratch), scratch)


def test_it_gives_the_bytes_of_the_release_and_its_record(hub: MemoryHub, tmp_path: Path) -> None:
    commit = hub.fill(PUSHED).commit
    store = store_of(hub, tmp_path)
    assert store.url == f"hub:{REPOSITORY}@{commit}"
    expected = {digest(b"weights"): b"weights", digest(b"# card\n"): b"# card\n"}
    expected[RELEASE.digest] = RELEASE.to_bytes()
    assert {d: b"".join(store.get(d)) for d in expected} == expected
    assert all(store.exists(d) for d in expected)
    assert {(b.digest, b.size, b.modified) for b in store.list()} == {
        (d, len(data), 0.0) for d, data in expected.items()
    }
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_it_has_not_is_missing(hub: MemoryHub, tmp_path: Path) -> None:
    hub.fill({path: data for path, data in PUSHED.items() if path != "w"})
    store = store_of(hub, tmp_path)
    for unknown in (digest(b"weights"), digest(b"never there")):
        assert not store.exists(unknown)
        with pytest.raises(MissingBlob, match=unknown):
            b"".join(store.get(unknown))
    assert {blob.digest for blob in store.list()} == {digest(b"# card\n"), RELEASE.digest}


def test_changed_bytes_are_no_repair(hub: MemoryHub, tmp_path: Path) -> None:
    hub.fill({**PUSHED, "w": b"WEIGHTS"})
    with pytest.raises(IntegrityError, match=f"{REPOSITORY}@"):
        b"".join(store_of(hub, tmp_path).get(digest(b"weights")))


def test_a_repository_of_somebody_else_is_nothing_to_repair_from(
    hub: MemoryHub, tmp_path: Path
) -> None:
    hub.fill({"adapter_config.json": b"{}"})
    with pytest.raises(Refused, match="was not pushed by adapterworks"):
        store_of(hub, tmp_path)


def test_it_is_read_only(hub: MemoryHub, tmp_path: Path) -> None:
    hub.fill(PUSHED)
    store = store_of(hub, tmp_path)
    with pytest.raises(Refused, match="read-only"):
        store.put(RELEASE.digest, b"x")
    with pytest.raises(Refused, match="read-only"):
        store.delete(RELEASE.digest)
