"""A server that sends more bytes than a file has: it is stopped, and leaves none here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from adapterworks.manifests.digests import digest_bytes
from adapterworks.registry.blobs.store import CorruptBlob
from adapterworks.registry.remotes.http.blobs import HttpBlobs
from adapterworks.registry.remotes.http.link import Link

DATA = b"0123456789"
DIGEST = digest_bytes(DATA)


class Endless:
    """A link to a server that goes on for ever."""

    url = "https://registry.example"

    def __init__(self) -> None:
        self.sent = 0

    def stream(self, path: str, start: int) -> Iterator[bytes]:
        while True:
            self.sent += 4
            if self.sent > 10_000:
                pytest.fail("nobody stopped it")
            yield b"0123"

    def size(self, path: str) -> int:
        return 1 << 40


def test_no_more_is_taken_than_the_record_says(tmp_path: Path) -> None:
    link = Endless()
    blobs = HttpBlobs(cast(Link, link), tmp_path)
    blobs.expect({DIGEST: len(DATA)})
    with pytest.raises(CorruptBlob, match="more bytes"):
        list(blobs.get(DIGEST))
    assert link.sent == 12
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
