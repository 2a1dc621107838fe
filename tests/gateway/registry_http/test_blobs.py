"""Bytes by digest: whole, in parts, and only those of releases."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.manifests.digests import digest_bytes
from tests.gateway.registry_http.conftest import Offered
from tests.registry.releases import publish

LOCK = b'{"seed": 1}'


@pytest.fixture
def url(offered: Offered, tmp_path: Path) -> str:
    """Where the lock of a published release is."""
    publish(offered.registry, tmp_path, 1)
    return f"{PREFIX}/blobs/{digest_bytes(LOCK)}"


def test_a_blob_comes_whole_with_its_digest_as_tag(offered: Offered, url: str) -> None:
    answer = offered.ask().get(url)
    assert (answer.status_code, answer.content) == (200, LOCK)
    assert answer.headers["etag"] == f'"{digest_bytes(LOCK)}"'
    assert answer.headers["content-length"] == str(len(LOCK))
    head = offered.ask().head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(LOCK))


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, len(LOCK))),
        ("bytes=-4", (len(LOCK) - 4, len(LOCK))),
        ("bytes=-400", (0, len(LOCK))),
        ("bytes=2-400", (2, len(LOCK))),
        (f"bytes={len(LOCK) - 1}-", (len(LOCK) - 1, len(LOCK))),
    ],
)
def test_a_part_is_what_was_asked_for(
    offered: Offered, url: str, asked: str, part: tuple[int, int]
) -> None:
    answer = offered.ask().get(url, headers={"range": asked})
    start, stop = part
    assert (answer.status_code, answer.content) == (206, LOCK[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(LOCK)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "lines=0-3", "bytes=0-1,3-4", "bytes=-", "0-3"])
def test_a_range_of_another_kind_is_the_whole(offered: Offered, url: str, asked: str) -> None:
    answer = offered.ask().get(url, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, LOCK)


@pytest.mark.parametrize("asked", [f"bytes={len(LOCK)}-", "bytes=900-", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(offered: Offered, url: str, asked: str) -> None:
    answer = offered.ask().get(url, headers={"range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(LOCK)}"


def test_who_has_it_is_told_so(offered: Offered, url: str) -> None:
    tag = f'"{digest_bytes(LOCK)}"'
    answer = offered.ask().get(url, headers={"if-none-match": f'"x", {tag}'})
    assert (answer.status_code, answer.content) == (304, b"")
    part = {"range": "bytes=0-3"}
    assert offered.ask().get(url, headers={**part, "if-range": tag}).status_code == 206
    assert offered.ask().get(url, headers={**part, "if-range": '"x"'}).status_code == 200


def test_a_record_is_a_blob_too(offered: Offered, tmp_path: Path) -> None:
    made = publish(offered.registry, tmp_path, 1)
    answer = offered.ask().get(f"{PREFIX}/blobs/{made.digest}")
    assert digest_bytes(answer.content) == made.digest


def test_bytes_of_no_release_are_not_given(offered: Offered, url: str) -> None:
    secret = b"rows of a tenant"
    offered.registry.blobs.put(digest_bytes(secret), secret)
    answer = offered.ask().get(f"{PREFIX}/blobs/{digest_bytes(secret)}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    offered.registry.delete("medical", 1, who="ann")
    assert offered.ask().get(url).status_code == 404


def test_erased_bytes_are_not_given(offered: Offered, url: str) -> None:
    offered.registry.upkeep.erase(digest_bytes(b"# medical\n"), who="ann", why="a name in it")
    answer = offered.ask().get(f"{PREFIX}/blobs/{digest_bytes(b'# medical' + bytes([10]))}")
    assert answer.status_code == 404
    assert "erased" in answer.json()["error"]["message"]


def test_missing_bytes_are_said_before_the_answer_begins(offered: Offered, url: str) -> None:
    offered.registry.blobs.delete(digest_bytes(LOCK))
    answer = offered.ask().get(url)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "adapter_damaged")
    assert offered.ask().head(url).status_code == 404


@pytest.mark.parametrize("digest", ["sha256:xyz", "..%2F..%2Fetc", "md5:" + "0" * 32])
def test_a_digest_is_a_digest(offered: Offered, digest: str) -> None:
    assert offered.ask().get(f"{PREFIX}/blobs/{digest}").status_code in (400, 404)
