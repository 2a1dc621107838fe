"""Files and uploads in OpenAI's words: what is asked, within bounds, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.registry.jobs.files import File
from adapterworks.registry.jobs.uploads import Part, Upload

Purpose = Literal["fine-tune", "batch", "assistants", "vision", "user_data", "evals"]
# What OpenAI's client can read back; it has no word for files of evals.
_READ_BACK = {"evals": "user_data"}
_BATCH_SECONDS = 30 * 86400


class ExpiresAfter(Table):
    """How long a file is kept."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=30 * 86400)]


class AskedFile(Table):
    """`POST /v1/files`, without the file itself."""

    purpose: Purpose
    expires_after: ExpiresAfter | None = None

    @property
    def seconds(self) -> int | None:
        """How long it is kept; batch files 30 days unless said otherwise."""
        if self.expires_after is not None:
            return self.expires_after.seconds
        return _BATCH_SECONDS if self.purpose == "batch" else None


class AskedUpload(AskedFile):
    """`POST /v1/uploads`."""

    bytes: Annotated[int, Field(ge=1)]
    filename: Annotated[str, Field(min_length=1, max_length=255)]
    mime_type: Annotated[str, Field(min_length=1, max_length=255)]


class AskedCompletion(Table):
    """`POST /v1/uploads/{upload}/complete`."""

    part_ids: Annotated[tuple[Annotated[str, Field(max_length=80)], ...], Field(max_length=10_000)]
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None


FORM = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})


def asked_file(fields: dict[str, str]) -> AskedFile:
    """The fields of a form.

    Raises:
        InvalidField: one is missing or out of range.
    """
    values: dict[str, Any] = {"purpose": fields.get("purpose")}
    if values["purpose"] is None:
        raise InvalidField("`purpose` is missing", param="purpose")
    seconds = fields.get("expires_after[seconds]")
    if seconds is not None or "expires_after[anchor]" in fields:
        number = int(seconds) if seconds and seconds.isdecimal() and len(seconds) < 12 else seconds
        values["expires_after"] = {
            "anchor": fields.get("expires_after[anchor]", "created_at"),
            "seconds": number,
        }
    return checked(AskedFile, values)


def file_object(file: File) -> dict[str, Any]:
    """A file as it is answered."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "expires_at": None if file.expires is None else int(file.expires),
        "filename": file.filename,
        "purpose": _READ_BACK.get(file.purpose, file.purpose),
        "status": "processed",
        "status_details": None,
    }


def upload_object(upload: Upload, file: File | None) -> dict[str, Any]:
    """An upload as it is answered."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": int(upload.created),
        "expires_at": int(upload.expires),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.state,
        "file": None if file is None else file_object(file),
    }


def part_object(part: Part) -> dict[str, Any]:
    """A part as it is answered."""
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": int(part.created),
        "upload_id": part.upload,
    }
