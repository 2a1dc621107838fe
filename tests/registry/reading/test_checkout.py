"""Checkouts: verified, read-only, complete whenever they exist, whoever makes them at once."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.reading import seen
from adapterworks.registry.reading.checkout import checkout
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import FileEntry, Release
from tests.forked import CONTEXT
from tests.registry.releases import draft, publish

WEIGHTS = "adapter_model.safetensors"


def test_a_checkout_has_the_roles_files_without_its_prefix(
    local_registry: Registry, tmp_path: Path
) -> None:
    published = publish(local_registry, tmp_path)
    folder = local_registry.checkout(published.digest, "servable")
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", WEIGHTS]
    assert (folder / WEIGHTS).read_bytes() == local_registry.read(
        published.digest, f"servable/{WEIGHTS}"
    )
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.iterdir())
    made = (folder / WEIGHTS).stat().st_ino
    assert local_registry.checkout(published.digest, "servable") == folder
    assert (folder / WEIGHTS).stat().st_ino == made  # it was right: nothing is copied again
    assert local_registry.checkout(published.digest, "adapter") != folder


@pytest.mark.parametrize("damage", ["changed", "removed", "added"])
def test_a_damaged_checkout_is_made_again_and_the_blob_is_unharmed(
    local_registry: Registry, tmp_path: Path, damage: str
) -> None:
    published = publish(local_registry, tmp_path)
    folder = local_registry.checkout(published.digest, "servable")
    good = (folder / WEIGHTS).read_bytes()
    if damage == "changed":
        (folder / WEIGHTS).chmod(0o644)
        (folder / WEIGHTS).write_bytes(b"X" + good[1:])
    elif damage == "removed":
        (folder / WEIGHTS).unlink()
    else:
        (folder / "extra.py").write_text("print('hello')")
    again = local_registry.checkout(published.digest, "servable")
    assert again == folder
    assert {path.name: path.read_bytes() for path in again.iterdir()}[WEIGHTS] == good
    assert not (folder / "extra.py").exists()
    assert local_registry.upkeep.verify().clean


def test_what_nobody_touched_is_not_read_again_and_what_somebody_did_is(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the same size, with its old time of change put back, is another file."""
    published = publish(local_registry, tmp_path)
    weights = local_registry.checkout(published.digest, "servable") / WEIGHTS
    good = weights.read_bytes()
    hashed: list[str] = []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return digest_file(path)

    monkeypatch.setattr(seen, "digest_file", counted)
    made = weights.stat()
    deadline = time.monotonic() + 10.0
    while True:  # until its last change is long enough ago to be told from a further one
        hashed.clear()
        local_registry.checkout(published.digest, "servable")
        if not hashed:
            break
        assert time.monotonic() < deadline
    weights.chmod(0o644)
    weights.write_bytes(b"X" + good[1:])
    os.utime(weights, ns=(made.st_atime_ns, made.st_mtime_ns))
    weights.chmod(0o444)
    folder = local_registry.checkout(published.digest, "servable")
    assert (folder / WEIGHTS).read_bytes() == good


def test_what_is_not_there_cannot_be_checked_out(local_registry: Registry, tmp_path: Path) -> None:
    published = publish(local_registry, tmp_path)
    with pytest.raises(NotFound, match="has no `full` files"):
        local_registry.checkout(published.digest, "full")
    local_registry.delete("medical", 1, who="ann")
    with pytest.raises(NotFound, match="was deleted by ann"):
        local_registry.checkout(published.digest, "servable")


def test_processes_that_check_out_and_damage_at_once_always_see_it_whole(
    local_registry: Registry, tmp_path: Path
) -> None:
    published = publish(local_registry, tmp_path)
    with CONTEXT.Pool(3) as pool:
        jobs = [(str(tmp_path), published.digest) for _ in range(3)]
        assert pool.starmap(_check_out_often, jobs, chunksize=1) == [30, 30, 30]


def _check_out_often(root: str, digest: str) -> int:
    registry = Registry.open(
        database=f"sqlite:///{root}/index.db", blobs=f"{root}/blobs", home=Path(root, "home")
    )
    whole = 0
    for _ in range(30):
        folder = registry.checkout(digest, "adapter")
        whole += 1
        with contextlib.suppress(FileNotFoundError):  # another worker is replacing it
            (folder / WEIGHTS).chmod(0o644)
            (folder / WEIGHTS).write_bytes(b"damaged")
    registry.close()
    return whole


def test_a_record_with_a_hostile_path_is_not_checked_out(
    local_registry: Registry, tmp_path: Path
) -> None:
    """Only a record made elsewhere can have such a path; it must not lead out of the folder."""
    files: dict[str, Any] = {
        f"servable/{path}": FileEntry.at(path, digest=f"sha256:{'0' * 64}", size=1)
        for path in ("../../escaped", "a//b", "./c")
    }
    for path, entry in files.items():
        release = Release.from_draft(draft(), {path: entry})
        with pytest.raises(InvalidInput, match="not a path inside a release"):
            checkout(local_registry.blobs, tmp_path / "out", release, "servable")
