"""Signatures in a repository: carried by key, bounded, and whatever is no bundle is left."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.signatures import fetch_signatures, signature_files
from tests.registry.remotes.hub.memory import MemoryHub

ONE, TWO = "1" * 64, "a" * 64
FOLDER = "adapterworks/signatures"


def test_a_push_carries_the_first_bundle_of_each_key_and_a_pull_finds_them(tmp_path: Path) -> None:
    files = signature_files({f"sha256:{TWO}": ["two"], f"sha256:{ONE}": ["first", "second"]})
    assert files == {f"{FOLDER}/{ONE}.json": b"first", f"{FOLDER}/{TWO}.json": b"two"}
    hub = MemoryHub()
    found = fetch_signatures(cast(Hub, hub), hub.fill(files), tmp_path)
    assert found == {f"sha256:{ONE}": "first", f"sha256:{TWO}": "two"}
    assert {limit for _, limit in hub.fetched} == {256 << 10}


def test_what_is_no_signature_or_too_large_is_left(tmp_path: Path) -> None:
    hub = MemoryHub()
    state = hub.fill(
        {
            f"{FOLDER}/{ONE}.json": b"x" * (256 << 10),
            f"{FOLDER}/{TWO}.json": b"x" * ((256 << 10) + 1),
            f"{FOLDER}/{'b' * 63}.json": b"short",
            f"{FOLDER}/{'B' * 64}.json": b"capital",
            f"more/{FOLDER}/{'c' * 64}.json": b"elsewhere",
            f"{FOLDER}/{'d' * 64}.json.txt": b"another kind",
        }
    )
    assert list(fetch_signatures(cast(Hub, hub), state, tmp_path)) == [f"sha256:{ONE}"]
    assert [path for path, _ in hub.fetched] == [f"{FOLDER}/{ONE}.json"]


def test_bytes_that_are_no_text_do_not_end_a_pull(tmp_path: Path) -> None:
    hub = MemoryHub()
    state = hub.fill({f"{FOLDER}/{ONE}.json": b"\xff"})
    assert fetch_signatures(cast(Hub, hub), state, tmp_path) == {f"sha256:{ONE}": "�"}


def test_sixteen_are_looked_at(tmp_path: Path) -> None:
    hub = MemoryHub()
    state = hub.fill({f"{FOLDER}/{number:064x}.json": b"x" for number in range(20)})
    found = fetch_signatures(cast(Hub, hub), state, tmp_path)
    assert sorted(found) == [f"sha256:{number:064x}" for number in range(16)]
