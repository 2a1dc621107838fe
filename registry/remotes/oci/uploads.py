"""Blobs into a registry, in chunks; an upload that was cut off is continued where it stopped.

    HEAD blob → POST uploads → PATCH chunk … → PUT with the digest

Invariants: where an upload stands is asked of the registry, not remembered; what is remembered, in
a file beside the blobs on their way, is only under which address it goes on. A blob that is there
is not sent. The registry compares the digest before the blob exists.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2

from adapterworks.manifests.errors import IntegrityError, Unavailable
from adapterworks.registry.remotes.oci.client import ATTEMPTS, Client
from adapterworks.registry.remotes.oci.errors import reaching

CHUNK = 8 << 20  # bytes
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")


class Uploads:
    """The uploads to one repository.

    Args:
        state: the file that remembers their addresses.
        chunk: bytes sent at once; a registry's `OCI-Chunk-Min-Length` may make it more.
    """

    def __init__(self, client: Client, state: Path, *, chunk: int = CHUNK) -> None:
        self._client, self._state, self._chunk = client, state, chunk

    def send(self, digest: str, source: Path | bytes) -> bool:
        """Store a blob; returns whether any of it had to be sent.

        Raises:
            Refused: we may not write there.
            Unavailable: the registry went away, several times.
        """
        if self._client.blob_size(digest) is not None:
            self._forget(digest)
            return False
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._once(digest, source, size)
                break
            except Unavailable:
                if attempt == ATTEMPTS:
                    raise
        self._forget(digest)
        return True

    def _once(self, digest: str, source: Path | bytes, size: int) -> None:
        place, offset = self._resume(digest) or self._start(digest)
        while size - offset > self._chunk:
            data = _part(source, offset, self._chunk)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{offset}-{offset + len(data) - 1}",
            }
            response = self._client.request("PATCH", place, content=data, headers=headers)
            if response.status_code == 416:  # another part of it arrived than we knew
                place, offset = self._resume(digest) or self._start(digest)
                continue
            if response.status_code != 202:
                raise self._client.fail(response, "push to")
            place = self._remember(digest, response)
            offset += len(data)
        rest = _part(source, offset, size - offset)
        response = self._client.request(
            "PUT",
            str(httpx2.URL(place).copy_add_param("digest", digest)),
            content=rest,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{offset}-{size - 1}",
            }
            if rest
            else {},
        )
        if response.status_code == 400 and "DIGEST" in response.text[:4096]:
            raise IntegrityError(
                f"`{self._client.name}` got other bytes than {digest}",
                hint="look at the registry of your own: adapters verify --all",
            )
        if response.status_code != 201:
            self._forget(digest)
            raise self._client.fail(response, "push to")

    def _start(self, digest: str) -> tuple[str, int]:
        response = self._client.request("POST", "blobs/uploads/")
        if response.status_code != 202:
            raise self._client.fail(response, "push to")
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        if least.isdecimal() and len(least) < 11:
            self._chunk = max(self._chunk, int(least))
        return self._remember(digest, response), 0

    def _resume(self, digest: str) -> tuple[str, int] | None:
        """The address of an upload that was begun, and how many bytes of it are there."""
        place = self._known().get(digest)
        if place is None:
            return None
        response = self._client.request("GET", place)
        match = _RANGE.fullmatch(response.headers.get("Range", ""))
        if response.status_code != 204 or match is None:
            self._forget(digest)
            return None
        last = int(match[1])
        # A registry says `0-0` of one byte and of none: chunks are longer than that.
        return self._remember(digest, response), last + 1 if last else 0

    def _remember(self, digest: str, response: httpx2.Response) -> str:
        with reaching("push to", str(self._client.name)):
            place = str(response.url.join(response.headers.get("Location", "")))
        if httpx2.URL(place).host != response.url.host and not place.startswith("https://"):
            raise Unavailable(f"`{self._client.name}` sends us to `{place[:200]}`, without TLS")
        self._write({**self._known(), digest: place})
        return place

    def _forget(self, digest: str) -> None:
        known = self._known()
        if known.pop(digest, None) is not None:
            self._write(known)

    def _known(self) -> dict[str, str]:
        try:
            table = json.loads(self._state.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return table if isinstance(table, dict) else {}

    def _write(self, known: dict[str, str]) -> None:
        if not known:
            self._state.unlink(missing_ok=True)
            return
        self._state.parent.mkdir(parents=True, exist_ok=True)
        coming = self._state.with_suffix(".coming")
        coming.write_text(json.dumps(known))
        coming.replace(self._state)


def _part(source: Path | bytes, offset: int, size: int) -> bytes:
    if isinstance(source, bytes):
        return source[offset : offset + size]
    with source.open("rb") as file:
        file.seek(offset)
        return file.read(size)
