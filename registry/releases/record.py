"""Reading a record's bytes, whatever version wrote them.

Invariants:
- The bytes are the truth and the value is a reading of them: digest and signature are those of the
  bytes that were read.
- Keys that this program does not know are passed over, so that a later program may add a fact
  without making the record unreadable here; what must not be passed over gets a new version number.
"""

from __future__ import annotations

import json

from pydantic import ValidationError

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.releases.release import SCHEMA_VERSION, Release
from adapterworks.registry.releases.version1 import Record1


class NotARecord(InvalidInput):
    """Bytes that are not a release record, or one of a later program."""


def read_record(data: bytes) -> Release:
    """The release that a record's bytes describe.

    Raises:
        NotARecord: naming the first key that is wrong.
    """
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotARecord("not JSON") from error
    version = table.get("schema_version") if isinstance(table, dict) else None
    if type(version) is not int or version not in (1, SCHEMA_VERSION):
        raise NotARecord(f"`schema_version` is {version!r}", hint="upgrade adapterworks")
    try:
        if version == 1:
            release = Record1.model_validate_json(data).to_release()
        else:
            release = Release.model_validate_json(data, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotARecord(f"`{where}`: {first['msg']}") from error
    return release.read_from(data)
