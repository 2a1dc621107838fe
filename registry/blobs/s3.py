"""Blobs in an S3-compatible store, through obstore.

An object appears whole or not at all (a single PUT, or a completed multipart upload). Small blobs
are put with `If-None-Match: *` where the server knows it; big ones in parts, hashed while they are
sent: a file that changed meanwhile fails the hash, and the upload is never completed. To the trash
and back a blob is copied by the server, but for one that is greater than a server copies in one
request: its bytes go through here, in parts.

Credentials, region and endpoint come from the usual environment (`AWS_*`, web identity, container
and instance roles) or, when a profile or `~/.aws/credentials` is there, from botocore. Give the
bucket a lifecycle rule that aborts incomplete multipart uploads: killed writers leave some.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import obstore as obs
from obstore import exceptions
from obstore.store import S3Store

from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.registry.blobs.local import size_of, source_name
from adapterworks.registry.blobs.marker import MARKER, read_marker, write_marker
from adapterworks.registry.blobs.store import (
    CHUNK,
    TRASH,
    BlobInfo,
    MissingBlob,
    checked,
    chunks_of,
    digest_of_key,
    digest_of_trash_key,
    key_of,
    trash_key_of,
)

PART = 8 * CHUNK
# Bounds of S3 itself: the parts of an upload, and the bytes that one CopyObject copies.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MOST_PARTS = 10_000
COPIED_AT_ONCE = 5 << 30
_AT_ONCE = 4  # parts that are on their way while an object is copied through here
_RESTORE = "restore it from another store: adapters verify --all --repair STORE"


class S3Blobs:
    """A `Store` at `s3://bucket/prefix`."""

    def __init__(self, url: str, *, copied_at_once: int = COPIED_AT_ONCE) -> None:
        """Nothing is sent yet.

        Args:
            copied_at_once: bytes of the greatest object that the server copies in one request.

        Raises:
            InvalidInput: no bucket in the URL.
        """
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidInput(f"`{url}` names no bucket", hint="write `s3://bucket/prefix`")
        self._url, self._bucket, self._prefix = url, bucket, prefix.strip("/") or None
        self._copied_at_once = copied_at_once

    @cached_property
    def _store(self) -> S3Store:
        """The client, made when bytes are first asked for: a listing needs no credentials."""
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        credentials, region = _shared_configuration()
        return S3Store(
            self._bucket,
            prefix=self._prefix,
            client_options={"allow_http": endpoint.startswith("http://")},
            credential_provider=credentials,
            **({"region": region} if region else {}),
        )

    @property
    def url(self) -> str:
        return self._url

    def put(self, digest: str, source: Path | bytes) -> None:
        key, size = key_of(digest), size_of(source)
        there = self._size(key)
        if there == size:
            return
        chunks = checked(digest, chunks_of(source), str(source_name(source)))
        with self._reported():
            if size > PART:
                obs.put(self._store, key, chunks, chunk_size=part_of(size))
            elif there is not None:  # damaged: these bytes take its place
                obs.put(self._store, key, b"".join(chunks), use_multipart=False)
            else:
                self._put_new(key, b"".join(chunks))

    def _put_new(self, key: str, data: bytes) -> None:
        try:
            obs.put(self._store, key, data, mode="create", use_multipart=False)
        except exceptions.AlreadyExistsError:
            pass  # the same bytes, from somebody who was quicker
        except exceptions.BaseError as error:
            if "NotImplemented" not in str(error) and "501" not in str(error):
                raise
            obs.put(self._store, key, data, use_multipart=False)

    def get(self, digest: str) -> Iterator[bytes]:
        where = f"{self._url.rstrip('/')}/{key_of(digest)}"
        with self._reported():
            try:
                result = obs.get(self._store, key_of(digest))
            except FileNotFoundError as error:
                raise MissingBlob(f"`{where}` is missing", hint=_RESTORE) from error
            chunks = (bytes(chunk) for chunk in result.stream(min_chunk_size=CHUNK))
            yield from checked(digest, chunks, where)

    def part(self, digest: str, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            end = min(stop, start + PART)
            with self._reported():
                try:
                    part = obs.get_range(self._store, key_of(digest), start=start, end=end)
                except FileNotFoundError as error:
                    where = f"{self._url.rstrip('/')}/{key_of(digest)}"
                    raise MissingBlob(f"`{where}` is missing", hint=_RESTORE) from error
            yield bytes(part)
            start = end

    def exists(self, digest: str) -> bool:
        return self._size(key_of(digest)) is not None

    def _size(self, key: str) -> int | None:
        with self._reported():
            try:
                return int(obs.head(self._store, key)["size"])
            except FileNotFoundError:
                return None

    def delete(self, digest: str) -> None:
        self.delete_discarded(digest)  # first: what is looked for is the other one
        self._delete(key_of(digest))

    def list(self) -> Iterator[BlobInfo]:
        return self._list("sha256", digest_of_key)

    def identity(self) -> str | None:
        where = f"{self._url.rstrip('/')}/{MARKER}"
        with self._reported():
            try:
                data = bytes(obs.get(self._store, MARKER).bytes())
            except FileNotFoundError:
                return None
        return read_marker(data, where)

    def claim(self, identity: str) -> str:
        there = self.identity()
        if there is None:
            with self._reported():
                self._put_new(MARKER, write_marker(identity))
            there = self.identity()
        return there or identity

    def discard(self, digest: str) -> None:
        self._move(key_of(digest), trash_key_of(digest))

    def recover(self, digest: str) -> None:
        self._move(trash_key_of(digest), key_of(digest))

    def delete_discarded(self, digest: str) -> None:
        self._delete(trash_key_of(digest))

    def list_discarded(self) -> Iterator[BlobInfo]:
        return self._list(TRASH, digest_of_trash_key)

    def _move(self, source: str, target: str) -> None:
        with self._reported(), suppress(FileNotFoundError):
            size = int(obs.head(self._store, source)["size"])
            if size > self._copied_at_once:
                self._copy_through(source, target, size)
            else:
                obs.copy(self._store, source, target)
            obs.delete(self._store, source)

    def _copy_through(self, source: str, target: str, size: int) -> None:
        """Copy an object in parts; without its last byte the target never appears.

        Not hashed: a damaged blob is moved as it is, and whoever reads it finds that.
        """
        part = part_of(size)
        writer = obs.open_writer(self._store, target, buffer_size=part, max_concurrency=_AT_ONCE)
        for start in range(0, size, part):
            end = min(size, start + part)
            writer.write(bytes(obs.get_range(self._store, source, start=start, end=end)))
        writer.close()

    def _delete(self, key: str) -> None:
        with self._reported(), suppress(FileNotFoundError):
            obs.delete(self._store, key)

    def _list(self, prefix: str, digest_of: Callable[[str], str | None]) -> Iterator[BlobInfo]:
        with self._reported():
            for page in obs.list(self._store, prefix=prefix):
                for entry in page:
                    digest = digest_of(entry["path"])
                    if digest is not None:
                        modified = entry["last_modified"].timestamp()
                        yield BlobInfo(digest, entry["size"], modified)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except exceptions.BaseError as error:
            said = str(error).splitlines()[0]
            raise Unavailable(
                f"`{self._url}` cannot be used: {said}",
                hint="check the bucket, `AWS_ENDPOINT_URL`, `AWS_REGION` and the credentials",
            ) from error


def part_of(size: int) -> int:
    """Bytes of each part of an upload of `size` bytes, so that its parts are not too many."""
    return max(PART, -(-size // MOST_PARTS))


def _shared_configuration() -> tuple[Callable[[], Any] | None, str | None]:
    """Credentials and region of a profile or shared file, which obstore itself does not read."""
    environ = os.environ
    files = (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config"))
    shared = [Path(environ.get(name, f"~/.aws/{file}")).expanduser() for name, file in files]
    if not ("AWS_PROFILE" in environ or any(path.exists() for path in shared)):
        return None, None
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ModuleNotFoundError as error:
        raise Unavailable(
            "AWS credentials of a profile or a shared file are read with `botocore`, which this "
            "installation does not have",
            hint="pip install botocore, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from error

    session = Session()
    try:
        named = "AWS_REGION" in environ or "AWS_DEFAULT_REGION" in environ
        region = None if named else session.get_config_variable("region")
        # Keys in the environment come first, as everywhere.
        given = "AWS_ACCESS_KEY_ID" in environ
        credentials = None if given else session.get_credentials()
    except BotoCoreError as error:
        raise InvalidInput(
            f"the AWS profile cannot be used: {error}",
            hint="see `AWS_PROFILE`, ~/.aws/config and ~/.aws/credentials",
        ) from error
    if credentials is None:
        return None, region

    def frozen() -> dict[str, Any]:
        current = credentials.get_frozen_credentials()
        return {
            "access_key_id": current.access_key,
            "secret_access_key": current.secret_key,
            "token": current.token,
            "expires_at": None,
        }

    return frozen, region
