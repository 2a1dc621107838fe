"""Every blob store keeps the same promises: a folder, nanio and moto."""

from __future__ import annotations

import os
import time
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from adapterworks.manifests.digests import digest_bytes, digest_file
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.registry.blobs.local import LocalBlobs, make_folders
from adapterworks.registry.blobs.open import open_blobs
from adapterworks.registry.blobs.s3 import (
    MOST_PARTS,
    PART,
    S3Blobs,
    _shared_configuration,
    part_of,
)
from adapterworks.registry.blobs.store import (
    BlobStore,
    CorruptBlob,
    MissingBlob,
    Store,
    copy_blob,
    key_of,
    read_blob,
)
from tests.registry.s3_servers import S3Server

DATA = b"some bytes" * 1000
DIGEST = digest_bytes(DATA)


def test_bytes_come_back_as_they_went_in(blobs: BlobStore, tmp_path: Path) -> None:
    assert not blobs.exists(DIGEST)
    blobs.put(DIGEST, DATA)
    blobs.put(DIGEST, DATA)  # again: nothing happens
    assert blobs.exists(DIGEST)
    assert read_blob(blobs, DIGEST) == DATA
    copy_blob(blobs, DIGEST, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


def test_a_file_of_several_parts_comes_back(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.write_bytes(os.urandom(1 << 20) * 18)  # more than two parts
    assert source.stat().st_size > 2 * PART
    digest = digest_file(source)
    blobs.put(digest, source)
    copy_blob(blobs, digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("size", [100, 2 * PART])
def test_bytes_that_are_not_what_was_announced_are_not_stored(
    blobs: BlobStore, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "changed"
    source.write_bytes(b"x" * size)
    wrong = digest_bytes(b"y" * size)
    with pytest.raises(CorruptBlob, match="should be sha256:"):
        blobs.put(wrong, source)
    assert not blobs.exists(wrong)
    assert list(blobs.list()) == []


def test_what_is_missing_is_said_with_the_repair(blobs: BlobStore) -> None:
    with pytest.raises(MissingBlob, match="is missing") as error:
        read_blob(blobs, DIGEST)
    assert "adapters verify --all --repair" in (error.value.hint or "")


def test_deleting_and_listing(blobs: BlobStore) -> None:
    others = [f"blob {number}".encode() for number in range(3)]
    for data in (DATA, *others):
        blobs.put(digest_bytes(data), data)
    listed = {info.digest: info for info in blobs.list()}
    assert listed.keys() == {digest_bytes(data) for data in (DATA, *others)}
    assert listed[DIGEST].size == len(DATA)
    assert abs(listed[DIGEST].modified - time.time()) < 120
    blobs.delete(DIGEST)
    blobs.delete(DIGEST)  # again: nothing happens
    assert not blobs.exists(DIGEST)
    assert len(list(blobs.list())) == 3


@pytest.mark.parametrize(
    "digest", ["", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32, "../x"]
)
def test_only_digests_become_paths(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(InvalidInput, match="is not a digest"):
        blobs.put(digest, DATA)
    with pytest.raises(InvalidInput, match="is not a digest"):
        blobs.exists(digest)


def test_a_flipped_bit_in_a_folder_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "store")
    store.put(DIGEST, DATA)
    path = store.path(DIGEST)
    path.chmod(0o644)
    flipped = bytearray(DATA)
    flipped[5] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(CorruptBlob, match=str(path)):
        read_blob(store, DIGEST)


def test_local_blobs_are_read_only_and_leave_no_staging(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "store")
    store.put(DIGEST, DATA)
    assert store.path(DIGEST).stat().st_mode & 0o777 == 0o444
    with pytest.raises(CorruptBlob):
        store.put(digest_bytes(b"other"), b"not other")
    assert list(store.staging.iterdir()) == []


def test_a_local_blob_is_on_disk_before_it_is_named_and_its_name_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBlobs(tmp_path / "store")
    target = store.path(DIGEST)
    synced: list[tuple[str, bool]] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        what = "file" if path.parent == store.staging else path.relative_to(tmp_path).as_posix()
        synced.append((what, target.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    store.put(DIGEST, DATA)
    folder = target.parent.relative_to(tmp_path).as_posix()
    assert ("file", False) in synced
    assert synced[-1] == (folder, True)
    assert (folder.rpartition("/")[0], False) in synced  # the new folder's own entry
    synced.clear()
    store.put(DIGEST, DATA)  # whoever put it may have been killed before
    assert synced == [(folder, True)]


def test_a_folder_that_somebody_made_meanwhile_is_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(Path, "exists", lambda path: path == tmp_path)  # looked a moment ago
    make_folders(tmp_path / "a" / "b")


def test_a_full_or_forbidden_disk_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tmp").write_text("a file where a folder must be")
    with pytest.raises(Unavailable, match="cannot be written"):
        LocalBlobs(tmp_path / "store").put(DIGEST, DATA)


def test_other_urls_are_refused() -> None:
    for url in ("ftp://somewhere", "s3://", "s3:///prefix"):
        with pytest.raises(InvalidInput):
            open_blobs(url)


def test_a_wrong_secret_is_refused_by_the_server(
    nanio_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    nanio_server.use(monkeypatch)
    bucket = nanio_server.new_bucket()
    open_blobs(f"s3://{bucket}").put(DIGEST, DATA)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(Unavailable, match=f"`s3://{bucket}` cannot be used") as error:
        read_blob(open_blobs(f"s3://{bucket}"), DIGEST)
    assert "not-the-secret" not in str(error.value)
    assert "credentials" in (error.value.hint or "")


def test_credentials_of_a_shared_file_are_found(
    nanio_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nanio_server.use(monkeypatch)
    bucket = nanio_server.new_bucket()
    shared = tmp_path / "credentials"
    shared.write_text(
        "[team]\n"
        f"aws_access_key_id = {os.environ['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {os.environ['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    monkeypatch.setenv("AWS_PROFILE", "team")
    store = open_blobs(f"s3://{bucket}/p")
    store.put(DIGEST, DATA)
    assert read_blob(store, DIGEST) == DATA


def test_a_profile_brings_its_region_and_one_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text("[profile team]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert _shared_configuration()[1] == "eu-central-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert _shared_configuration()[1] is None  # as obstore itself reads it
    monkeypatch.setenv("AWS_PROFILE", "taem")
    store = open_blobs("s3://bucket/p")  # a listing of the index needs no bytes
    with pytest.raises(InvalidInput, match=r"AWS profile cannot be used: .*taem"):
        store.exists(DIGEST)


def test_what_is_there_with_another_size_is_put_anew(
    moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    moto_server.use(monkeypatch)
    store = open_blobs(f"s3://{moto_server.new_bucket()}/p")
    assert isinstance(store, S3Blobs)
    store.put(DIGEST, DATA)
    obstore.put(store._store, key_of(DIGEST), b"", use_multipart=False)
    store.put(DIGEST, DATA)
    assert read_blob(store, DIGEST) == DATA


def test_what_cannot_be_read_is_damaged_and_stops_nobody(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path)
    store.path(DIGEST).mkdir(parents=True)
    with pytest.raises(CorruptBlob, match="cannot be read: Is a directory"):
        read_blob(store, DIGEST)


def test_a_second_writer_does_not_overwrite_where_the_server_can_tell(
    moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers both find nothing and both put; the object that was there first stays."""
    moto_server.use(monkeypatch)
    store = open_blobs(f"s3://{moto_server.new_bucket()}/p")
    assert isinstance(store, S3Blobs)
    store.put(DIGEST, DATA)
    (first,) = store.list()
    time.sleep(1.1)  # S3 timestamps have seconds
    monkeypatch.setattr(store, "_size", lambda _: None)  # the second writer looked too early
    store.put(DIGEST, DATA)
    (second,) = store.list()
    assert second.modified == first.modified
    assert read_blob(store, DIGEST) == DATA


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (5, 9), (9990, 10_000), (7, 7), (0, 10_000)])
def test_a_part_of_a_blob(blobs: Store, start: int, stop: int) -> None:
    blobs.put(DIGEST, DATA)
    assert b"".join(blobs.part(DIGEST, start, stop)) == DATA[start:stop]


def test_a_part_of_a_missing_blob(blobs: Store) -> None:
    with pytest.raises(MissingBlob):
        list(blobs.part(DIGEST, 0, 1))


@pytest.mark.parametrize("kind", ["nanio", "moto"])
def test_a_blob_that_no_server_copies_at_once_goes_to_the_trash_and_back(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: S3Server = request.getfixturevalue(f"{kind}_server")
    server.use(monkeypatch)
    store = S3Blobs(f"s3://{server.new_bucket()}/prefix", copied_at_once=PART)
    copy = obstore.copy

    def as_s3_does(at: obstore.store.S3Store, source: str, target: str) -> None:
        if obstore.head(at, source)["size"] > PART:
            raise GenericError("InvalidRequest: larger than the maximum allowable size")
        copy(at, source, target)

    monkeypatch.setattr(obstore, "copy", as_s3_does)
    great = tmp_path / "great"
    great.write_bytes(os.urandom(2 * PART + 5))
    digest = digest_file(great)
    for blob, source in ((digest, great), (DIGEST, DATA)):
        store.put(blob, source)
        store.discard(blob)
        assert not store.exists(blob)
        size = len(DATA) if source is DATA else 2 * PART + 5
        assert [(info.digest, info.size) for info in store.list_discarded()] == [(blob, size)]
        store.discard(blob)  # again: nothing happens
        store.recover(blob)
        assert list(store.list_discarded()) == []
    copy_blob(store, digest, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == great.read_bytes()


def test_a_blob_that_goes_while_it_is_copied_in_parts_appears_nowhere(
    moto_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto_server.use(monkeypatch)
    store = S3Blobs(f"s3://{moto_server.new_bucket()}", copied_at_once=PART)
    data = os.urandom(2 * PART)
    digest = digest_bytes(data)
    (tmp_path / "great").write_bytes(data)
    store.put(digest, tmp_path / "great")
    get_range = obstore.get_range

    def then_gone(at: obstore.store.S3Store, key: str, *, start: int, end: int) -> obstore.Bytes:
        part = get_range(at, key, start=start, end=end)
        obstore.delete(at, key)
        return part

    monkeypatch.setattr(obstore, "get_range", then_gone)
    store.discard(digest)
    assert list(store.list_discarded()) == []


def test_no_upload_has_more_parts_than_s3_takes() -> None:
    assert part_of(1) == part_of(MOST_PARTS * PART) == PART
    assert part_of(256 << 30) * MOST_PARTS >= 256 << 30
