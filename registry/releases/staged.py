"""What files are called while they are on their way into a folder, so that others are left alone.

Invariant: what removes the leavings of killed processes asks here first. The folders lie where
settings say (`ADAPTERS_BLOBS=/data` makes `/data/tmp` one of them), and what else is in them is
somebody's, however old.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAMES = re.compile(
    r"[0-9a-f]{32}"  # blobs and checkouts
    r"|(.+-)?[0-9a-f]{64}(\.lock)?"  # blobs that are sent by a token, or fetched
    r"|(upload|batch|proof)-\w+"  # tenants' files
    r"|tmp[a-z0-9_]{8}"  # those of `tempfile`, which earlier versions used for some
)


def is_staged(path: Path) -> bool:
    """Whether a file or folder is called as those that we write first and move then."""
    return _NAMES.fullmatch(path.name) is not None
