"""Whom an engine unloads when there is no place left."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adapterworks.gateway.residency.entry import Entry


def victim(
    held: Sequence[Entry], *, busy: Collection[str], wanted: Collection[str]
) -> Entry | None:
    """Whom to unload: the least recently used that nobody wants, else the longest busy.

    One that somebody waits for is used once before it goes: two who ask for the same place would
    unload each other's for ever. A pin goes only where everything is pinned: more pins than there
    are places must not keep all others out.

    Args:
        held: what takes a place.
        busy: digests in use.
        wanted: digests that somebody waits for.
    """
    only_pins = all(e.pinned for e in held)
    free = [
        e
        for e in held
        if e.stage == "resident"
        and (only_pins or not e.pinned)
        and (e.requests or e.release.digest not in wanted)
    ]
    idle = [e for e in free if e.release.digest not in busy and e.release.digest not in wanted]
    if idle:
        return min(idle, key=lambda e: e.used)
    return min(free, key=lambda e: e.busy_since or e.used, default=None)
