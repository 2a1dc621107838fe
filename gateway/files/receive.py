"""A form with a file, from the socket to a temporary file: hashed and looked at as it arrives.

Invariant: memory is that of a few chunks and one line, whatever is sent; the temporary file is gone
when the block ends, also when the client leaves in the middle.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from adapterworks.gateway.files.rows import Facts, RowCheck
from adapterworks.gateway.request.errors import InvalidField, TooLarge, TooSlow
from adapterworks.manifests.errors import InvalidInput

# Chunks are handed to a thread together, so that the event loop is free while lines are read.
_BATCH = 256 * 1024
_MOST_FIELD = 8 * 1024
_MOST_FIELDS = 16
_ENVELOPE = 64 * 1024  # fields and boundaries around the file
_READ = 1 << 20


@dataclass
class Received:
    """What came.

    Attributes:
        path: the file's bytes, until the block ends.
        digest, size: of them.
        facts: of its rows, where the purpose says what they are.
    """

    path: Path
    filename: str = ""
    digest: str = ""
    size: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=lambda: Facts(0, ""))


@asynccontextmanager
async def received(
    request: Request,
    *,
    name: str,
    known: frozenset[str],
    most: int,
    seconds: float,
    check_of: Callable[[dict[str, str]], RowCheck | None],
    staging: Path,
) -> AsyncIterator[Received]:
    """The form of a request.

    Args:
        name: of the field that is the file; `known` are the others that there may be.
        most: bytes of the file.
        seconds: that it may take.
        check_of: the fields that came before the file → how its rows are looked at. Asked again at
            the end if it had nothing to say then.
        staging: folder for the temporary file.

    Raises:
        InvalidField, InvalidInput: the form is malformed, or rows cannot be used.
        TooLarge, TooSlow: it is above `most`, or did not come in time.
    """
    announced = request.headers.get("content-length", "0")
    too_large = TooLarge(f"a file may have {most} bytes")
    if announced.isdecimal() and int(announced) > most + _ENVELOPE:
        raise too_large
    boundary = _boundary(request)
    descriptor, path = await asyncio.to_thread(_temporary, staging)
    try:
        with os.fdopen(descriptor, "wb") as file:
            form = _Form(Received(path), file, name, known, most, too_large, check_of)
            parser = MultipartParser(boundary, form.callbacks())
            try:
                async with asyncio.timeout(seconds):
                    await _feed(request, parser)
            except TimeoutError as error:
                raise TooSlow(f"the file did not arrive within {seconds:g} s") from error
            except ClientDisconnect as error:
                raise InvalidInput("the client left before the file was whole") from error
            except FormParserError as error:
                raise InvalidInput("the form is malformed") from error
            file.flush()
        yield await asyncio.to_thread(form.finish)
    finally:
        path.unlink(missing_ok=True)


def _temporary(staging: Path) -> tuple[int, Path]:
    staging.mkdir(parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(prefix="upload-", dir=staging)
    return descriptor, Path(path)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise InvalidInput(
            "the body is no form", hint="send `multipart/form-data`, as OpenAI's clients do"
        )
    return boundary


async def _feed(request: Request, parser: MultipartParser) -> None:
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= _BATCH:
            await asyncio.to_thread(parser.write, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(parser.write, bytes(waiting))
    parser.finalize()


class _Form:
    """The parser's callbacks."""

    def __init__(
        self,
        got: Received,
        file: Any,
        name: str,
        known: frozenset[str],
        most: int,
        too_large: TooLarge,
        check_of: Callable[[dict[str, str]], RowCheck | None],
    ) -> None:
        self._got, self._file, self._name, self._known = got, file, name, known
        self._most, self._too_large, self._check_of = most, too_large, check_of
        self._hash = hashlib.sha256()
        self._check: RowCheck | None = None
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._seen_file = False
        self._ended = False

    def callbacks(self) -> Any:
        """What the parser calls."""
        return {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_end": self._end,
        }

    def finish(self) -> Received:
        """All has come."""
        got = self._got
        if not self._ended or not self._seen_file:
            raise InvalidField(f"`{self._name}` is missing", param=self._name)
        got.digest = "sha256:" + self._hash.hexdigest()
        check = self._check
        if check is None and (check := self._check_of(got.fields)) is not None:
            with got.path.open("rb") as file:  # the purpose came after the file
                while data := file.read(_READ):
                    check.feed(data)
        if check is not None:
            got.facts = check.close()
        return got

    def _part_begin(self) -> None:
        self._headers = {}
        self._field = None
        self._value.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._field = name
        if name == self._name:
            if self._seen_file:
                raise InvalidField(f"`{name}` comes twice", param=name)
            self._seen_file = True
            filename = options.get(b"filename", b"").decode("utf-8", "replace")
            self._got.filename = filename.replace("\\", "/").rsplit("/", 1)[-1][:255] or "file"
            self._check = self._check_of(self._got.fields)
        elif name not in self._known:
            raise InvalidField(f"unknown field `{name[:100]}`", param=name[:100])
        elif name in self._got.fields or len(self._got.fields) >= _MOST_FIELDS:
            raise InvalidField(f"`{name}` comes twice", param=name)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._field != self._name:
            self._value += piece
            if len(self._value) > _MOST_FIELD:
                raise InvalidField(f"`{self._field}` is too long", param=self._field)
            return
        self._got.size += len(piece)
        if self._got.size > self._most:
            raise self._too_large
        self._hash.update(piece)
        self._file.write(piece)
        if self._check is not None:
            self._check.feed(piece)

    def _part_end(self) -> None:
        if self._field is not None and self._field != self._name:
            self._got.fields[self._field] = bytes(self._value).decode("utf-8", "replace")
        self._value.clear()

    def _end(self) -> None:
        self._ended = True
