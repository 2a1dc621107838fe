"""A push and a pull that are cut off go on where they were: bytes are counted at the registry."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.leaving import pack
from adapterworks.registry.remotes.oci import client
from adapterworks.registry.remotes.oci.client import Client
from adapterworks.registry.remotes.oci.held import OciRelease
from adapterworks.registry.remotes.oci.media import ABSENT
from adapterworks.registry.remotes.oci.names import parse_oci
from adapterworks.registry.remotes.oci.push import send
from adapterworks.registry.remotes.oci.uploads import Uploads
from adapterworks.registry.remotes.staging import assemble, stage_of
from tests.registry.remotes.oci.conftest import ROWS
from tests.registry.remotes.oci.moves import REPOSITORY, pulled, pushed
from tests.registry.remotes.oci.standin import OciStandin

CHUNK = 500
POINTS = 20


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before an attempt."""
    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=lambda seconds: None))


def cut_off(oci: OciStandin, at: int, move: Callable[[], object]) -> int:
    """Do a move that the registry hangs up on after so many bytes; how many moves it took."""
    oci.hang_up = at
    for turn in range(1, 10):
        try:
            move()
        except Unavailable:
            oci.hang_up = None
        else:
            return turn
    raise AssertionError("it never ended")


def test_no_byte_is_sent_twice_beyond_a_chunk(
    ours: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    parcel = pack(ours, ours.resolve("medical@1"))
    whole = sum({e.digest: e.size for e in parcel.release.files.values()}.values())
    client = Client(parse_oci(f"oci://{oci.host}/{REPOSITORY}"), push=True)

    def push() -> None:
        send(client, Uploads(client, tmp_path / "uploads.json", chunk=CHUNK), parcel, "v1")

    for point in range(1, POINTS + 1):
        at = whole * point // (POINTS + 1)
        assert cut_off(oci, at, push) == 2
        there = sum(map(len, oci.blobs.values()))
        assert there <= oci.received <= there + CHUNK, f"cut off after {at} bytes"
        for kept in (oci.blobs, oci.manifests, oci.tags, oci.uploads):
            kept.clear()
        oci.received = 0
    client.__exit__()
    assert cut_off(oci, whole // 2, lambda: pushed(ours, oci.host, chunk=CHUNK)) == 2


def test_no_byte_is_fetched_twice(
    ours: Registry, theirs: Registry, oci: OciStandin, tmp_path: Path
) -> None:
    pushed(ours, oci.host)
    name = parse_oci(f"oci://{oci.host}/{REPOSITORY}:v1")
    with Client(name) as client:
        held = OciRelease(client, name, tmp_path)
        sent = {layer["digest"]: layer["size"] for layer in oci.manifest("v1")["layers"]}
        files = sum(sent.values()) - sum(x["size"] for x in oci.manifest("v1")["layers"]
                                         if x["mediaType"] == ABSENT)  # fmt: skip
        for point in range(1, POINTS + 1):
            oci.served = 0

            def fetch(folder: Path = tmp_path / f"{point}") -> None:
                shutil.rmtree(folder, ignore_errors=True)
                with stage_of(held, tmp_path) as stage:
                    assemble(held, held.release, {ROWS: "not sent"}, stage, folder)

            assert cut_off(oci, files * point // (POINTS + 1), fetch) == 2
            assert oci.served == files
    source = f"oci://{oci.host}/{REPOSITORY}:v1"
    assert cut_off(oci, files // 2, lambda: pulled(theirs, source)) == 2
    assert theirs.resolve("medical@1").digest == held.release.digest
