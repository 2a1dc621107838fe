"""What a place says it lacks of a release: a small table beside the record.

    {"schema_version": 1, "files": {"predictions.jsonl": {"state": "withheld", "at": null}}}

`state` is `withheld` or `erased`; an erasure has its day, not its reason, which may tell of a
person. Invariant: a file that is neither there nor named here is a fault, and no weights may be
named. Whatever it says, a registry that pulls believes only that the bytes did not come: a
stranger's "erased" erases nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.imports import strictjson
from adapterworks.registry.releases.absence import ERASED, WITHHELD, Absence
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.roles import may_be_withheld

ABSENT = "absent.json"
MAX_ABSENT = 1 << 20  # bytes
_MAX_DEPTH = 8


def write_absent(left_out: Mapping[str, Absence | None]) -> bytes:
    """The statement of a push that leaves files out; `None` means that the push withholds one."""
    files = {
        path: {"state": WITHHELD, "at": None}
        if absence is None or absence.state == WITHHELD
        else {"state": ERASED, "at": absence.at[:10]}
        for path, absence in left_out.items()
    }
    return canonical_json({"schema_version": 1, "files": files})


def parse_absent(data: bytes, release: Release, where: str) -> dict[str, str]:
    """Why a file is not at a place, by path.

    Args:
        where: the place, for the errors and in what is told.

    Raises:
        IntegrityError: it is not such a statement, or names weights or no file of the release.
    """
    table = strictjson.parse(data, file=ABSENT, max_depth=_MAX_DEPTH)
    files = table.get("files") if isinstance(table, dict) else None
    if not isinstance(files, dict):
        raise IntegrityError(f"`{ABSENT}` of `{where}` has no table `files`")
    for path in files:
        if path not in release.files or not may_be_withheld(path):
            raise IntegrityError(
                f"`{ABSENT}` of `{where}` leaves out `{path[:200]}`, which cannot be"
            )
    return {path: f"{_said(entry)} by {where}" for path, entry in files.items()}


def _said(entry: Any) -> str:
    state, at = (entry.get("state"), entry.get("at")) if isinstance(entry, dict) else (None, None)
    if state == ERASED:
        day = at[:10] if isinstance(at, str) and at[:10].replace("-", "").isdigit() else None
        return f"said to be erased on {day}" if day else "said to be erased"
    return "not sent"
