"""Bytes of a registry that is reached over HTTP: fetched from where they were cut off, and sent so.

Invariant: bytes leave here only after the whole was hashed; a part that stays behind a kill is
gone on with, and thrown away if the whole is not what its digest says.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import Conflict, NotFound, Unavailable
from adapterworks.registry.blobs.local import size_of, source_name
from adapterworks.registry.blobs.store import CorruptBlob, MissingBlob, chunks_of, key_of
from adapterworks.registry.remotes.http.link import Link

PART = 4 << 20
_ATTEMPTS = 5


class HttpBlobs:
    """The bytes behind a server; `folder` has what is being fetched."""

    def __init__(self, link: Link, folder: Path) -> None:
        self._link = link
        self._folder = folder
        self._sizes: dict[str, int] = {}

    def expect(self, sizes: Mapping[str, int]) -> None:
        """What is known of blobs' sizes, by digest: no more bytes than that are taken of one."""
        self._sizes.update(sizes)

    @property
    def url(self) -> str:
        """The server."""
        return self._link.url

    def get(self, digest: str) -> Iterator[bytes]:
        """The bytes in chunks, of a file that was hashed whole.

        Raises:
            MissingBlob: no release there has it.
            CorruptBlob: what came is something else.
            Unavailable: the server does not answer; asked again, it goes on.
        """
        key_of(digest)  # no text of a stranger becomes a path
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / digest.removeprefix("sha256:")
        with _held(part.with_suffix(".lock")):
            self._fetch(digest, part)
            if digest_file(part) != digest:
                part.unlink()
                raise CorruptBlob(
                    f"what `{self.url}` gives as {digest} is something else",
                    hint="whoever runs it finds the file with `adapters verify --all`",
                )
            try:
                yield from chunks_of(part)
            finally:
                part.unlink(missing_ok=True)

    def _fetch(self, digest: str, part: Path) -> None:
        """Append what lacks; a connection that breaks is made anew while bytes come."""
        failures = 0
        while True:
            here = part.stat().st_size if part.exists() else 0
            try:
                with part.open("ab") as file:
                    if here and self._size(digest) <= here:
                        return
                    for chunk in self._link.stream(f"/blobs/{digest}", here):
                        file.write(chunk)
                        self._require_end(digest, part, file.tell())
                return
            except NotFound as error:
                part.unlink(missing_ok=True)
                raise MissingBlob(error.message, hint=error.hint) from error
            except Unavailable:
                came = part.stat().st_size > here
                failures = 0 if came else failures + 1
                if failures == _ATTEMPTS:
                    raise

    def _require_end(self, digest: str, part: Path, came: int) -> None:
        """Check that no more came than there is; what came goes."""
        if came > self._sizes.get(digest, came):
            part.unlink()
            raise CorruptBlob(
                f"`{self.url}` gives more bytes as {digest} than the {self._sizes[digest]} it has",
                hint="whoever runs it finds the file with `adapters verify --all`",
            )

    def exists(self, digest: str) -> bool:
        """Whether a release there has it."""
        try:
            self._size(digest)
        except NotFound:
            return False
        return True

    def put(self, digest: str, source: Path | bytes) -> None:
        """Send bytes, from where an earlier sending was cut off.

        Where a part does not follow what the server has, it is asked how far it is, and sending
        goes on from there: the answer to a part that it took was lost, or somebody else with the
        same token sends the same bytes.

        Raises:
            CorruptBlob, Refused: the server says so.
            Conflict: parts do not follow, and no more bytes are there than before.
        """
        failures, before = 0, -1
        while True:
            told = self._link.get(f"/sent/{digest}", dict[str, object])
            if told["whole"] or self.exists(digest):
                return
            start = int(str(told["received"]))
            try:
                return self._send(digest, source, start)
            except Conflict:
                failures = 0 if start > before else failures + 1
                before = start
                if failures == _ATTEMPTS:
                    raise

    def _send(self, digest: str, source: Path | bytes, start: int) -> None:
        """Send what follows the first `start` bytes."""
        total = size_of(source)
        for data in _parts(source, start):
            place = f"bytes {start}-{start + len(data) - 1}/{total}" if data else ""
            headers = {"content-range": place} if place else {}
            self._link.put(f"/sent/{digest}", data, headers)
            start += len(data)
        if start != total:
            raise CorruptBlob(f"`{source_name(source)}` changed while it was sent")

    def _size(self, digest: str) -> int:
        return self._link.size(f"/blobs/{digest}")


def _parts(source: Path | bytes, start: int) -> Iterator[bytes]:
    """The rest of a source in parts; one empty part of an empty one."""
    if isinstance(source, bytes):
        yield from (source[at : at + PART] for at in range(start, max(len(source), 1), PART))
        return
    with source.open("rb") as file:
        file.seek(start)
        yield file.read(PART)
        while data := file.read(PART):
            yield data


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """One fetch of a blob at a time on this machine."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
