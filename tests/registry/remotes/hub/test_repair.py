"""A damaged release is repaired from the commit it was pushed to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from adapterworks.registry.blobs.store import key_of
from tests.registry.remotes.hub.machine import REPOSITORY, Machine, Prepared, release_files


def test_a_flipped_bit_and_a_lost_record_are_repaired_from_the_hub(
    prepared: Prepared, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine("ours")
    shutil.copytree(prepared.home, machine.home)
    machine.ok("push", "medical@2")
    digest = prepared.published.digest
    before = release_files(machine.registry, digest)
    weights = machine.registry.release(digest).files["servable/adapter_model.safetensors"]
    blobs = machine.home / "adapters" / "blobs"
    damaged, lost = blobs / key_of(weights.digest), blobs / key_of(digest)
    _flip_last_bit(damaged)
    lost.unlink()
    assert machine.run("verify", "medical@2").code == 5

    repaired = machine.ok("verify", "medical@2", "--repair", f"hub:{REPOSITORY}@v2", "--json").json
    assert repaired["clean"] is True
    assert len(repaired["report"]["problems"]) == 2
    assert release_files(machine.registry, digest) == before
    machine.ok("verify", "--all")


def _flip_last_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
