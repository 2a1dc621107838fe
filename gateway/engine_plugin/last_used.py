"""When an engine was last asked for each adapter, by digest; of this process alone."""

from __future__ import annotations

import time

_LAST: dict[str, float] = {}
_MOST = 10_000


def note(digest: str) -> None:
    """Note that a release is asked for now."""
    _LAST.pop(digest, None)
    _LAST[digest] = time.monotonic()
    if len(_LAST) > _MOST:
        del _LAST[next(iter(_LAST))]


def unused(digest: str) -> float:
    """Seconds since it was asked for; endless if it never was."""
    last = _LAST.get(digest)
    return float("inf") if last is None else time.monotonic() - last
