"""The parts of an upload are put together, looked at, and become a file: a few at a time.

Invariant: one upload is put together once at a time, and the file is listed in the transaction that
ends the upload: a kill, or two callers at once, leave one file or none.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapterworks.gateway.files.rows import Facts, RowCheck, check_of
from adapterworks.gateway.request.errors import InvalidField, TooSlow
from adapterworks.gateway.request.leaving import in_thread
from adapterworks.manifests.errors import Conflict, Unavailable
from adapterworks.registry.jobs.files import File, Files, NewFile
from adapterworks.registry.jobs.uploads import Part, Upload, Uploads, require_pending

_AT_ONCE = 2
_MOST_WAITING = 16
_MOST_OF_ONE = 6  # tenant's, those that are put together among them
_AGAIN_S = 2.0


class Joiner:
    """Puts uploads together.

    Args:
        staging: folder for the temporary file.
        quota: bytes of a tenant's files together.
        seconds: that one may take.
    """

    def __init__(
        self, files: Files, uploads: Uploads, staging: Path, *, quota: int, seconds: float
    ) -> None:
        self._files, self._uploads, self._staging = files, uploads, staging
        self._quota, self._seconds = quota, seconds
        # Threads of their own number: all others' reads go through the same few.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._joining: dict[str, str] = {}  # upload → tenant

    async def join(
        self, upload: Upload, part_ids: Sequence[str], md5: str | None
    ) -> tuple[Upload, File]:
        """Complete an upload.

        Raises:
            Conflict: it is not pending any more, or is being completed.
            Unavailable: too many wait already.
            InvalidInput: the parts are not its own, or rows cannot be used.
            TooSlow: looking at the rows takes longer than it may.
            OverQuota: as of `Files.put`.
        """
        require_pending(upload)
        if upload.id in self._joining:
            raise Conflict(f"the upload `{upload.id}` is being completed")
        own = sum(tenant == upload.tenant for tenant in self._joining.values())
        if own >= _MOST_OF_ONE or len(self._joining) >= _MOST_WAITING:
            raise Unavailable("too many uploads wait to be completed", retry_after=_AGAIN_S)
        self._joining[upload.id] = upload.tenant
        try:
            async with self._turns:
                return await in_thread(lambda: self._join(upload, part_ids, md5))
        finally:
            del self._joining[upload.id]

    def _join(
        self, upload: Upload, part_ids: Sequence[str], md5: str | None
    ) -> tuple[Upload, File]:
        parts = self._uploads.parts(upload, part_ids)
        check, facts = check_of(upload.purpose), Facts(0, "")
        self._staging.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix="upload-", dir=self._staging)
        hashes = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in self._checked(parts, check):
                    file.write(chunk)
                    for hasher in hashes:
                        hasher.update(chunk)
            if md5 is not None and hashes[1].hexdigest() != md5.lower():
                raise InvalidField("the parts together have another `md5`", param="md5")
            if check is not None:
                facts = check.close()
            new = NewFile(
                tenant=upload.tenant,
                purpose=upload.purpose,
                filename=upload.filename,
                path=Path(name),
                blob="sha256:" + hashes[0].hexdigest(),
                size=upload.size,
                rows=facts.rows,
                kind=facts.kind,
                seconds=upload.keep_seconds,
            )
            ended = self._files.put_with(
                [new],
                lambda connection, ids: self._uploads.complete(
                    connection, upload.id, upload.tenant, ids[0]
                ),
                quota=self._quota,
                instead_of=upload.id,
            )
        finally:
            Path(name).unlink(missing_ok=True)
        assert ended.file is not None
        return ended, self._files.get(ended.file, upload.tenant)

    def _checked(self, parts: Sequence[Part], check: RowCheck | None) -> Iterator[bytes]:
        until = time.monotonic() + self._seconds
        for chunk in self._uploads.chunks(parts):
            if time.monotonic() > until:
                raise TooSlow(f"the rows could not be looked at within {self._seconds:g} s")
            if check is not None:
                check.feed(chunk)
            yield chunk
