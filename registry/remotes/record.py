"""The record of a release that is somewhere else, parsed strictly."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.imports import strictjson
from adapterworks.registry.releases.paths import check_path
from adapterworks.registry.releases.record import NotARecord, read_record
from adapterworks.registry.releases.release import Release

RECORD = "release.json"
MAX_RECORD = 8 << 20  # bytes; a record of ours has a few kilobytes
MAX_SIZE = 1 << 50  # bytes of all files; what is withheld may claim any size
_MAX_DEPTH = 16


def parse_record(data: bytes, where: str) -> Release:
    """The release a record describes.

    Args:
        where: the place it is from, for the errors.

    Raises:
        IntegrityError: not a record, or not in the one spelling whose digest is the release's name.
    """
    table = strictjson.parse(data, file=RECORD, max_depth=_MAX_DEPTH)
    try:
        release = read_record(data)
    except NotARecord as error:
        raise IntegrityError(
            f"`{RECORD}` of `{where}` is not a release record: {error.message}",
            hint=error.hint,
        ) from error
    try:
        canonical = canonical_json(table)
    except ValueError as error:  # an integer that JSON does not hold exactly, half a character
        raise IntegrityError(f"`{RECORD}` of `{where}` has no canonical form: {error}") from error
    if canonical != data:
        raise IntegrityError(
            f"`{RECORD}` of `{where}` is not in canonical form: its digest is nobody's name"
        )
    for path in release.files:
        check_path(path)
        above = next((str(p) for p in PurePosixPath(path).parents if str(p) in release.files), None)
        if above is not None:
            raise IntegrityError(f"`{above}` of `{where}` is a file and a folder")
    if _has_nul(table):  # PostgreSQL takes no such text
        raise IntegrityError(f"`{RECORD}` of `{where}` has a text with a NUL")
    if release.size > MAX_SIZE:
        raise IntegrityError(f"`{RECORD}` of `{where}` claims {release.size} bytes")
    return release


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_has_nul(part) for part in value)
    return isinstance(value, str) and "\0" in value
