"""Whom an engine unloads when there is no place left."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adapterworks.gateway.residency.entry import Entry


def victim(
    held: Sequence[Entry],
    *,
    busy: Collection[str],
    wanted: Collection[str],
    owner: str | None = None,
) -> Entry | None:
    """Whom to unload: the least asked for that nobody wants, else the longest busy.

    Of those that are asked for alike it is the least recently used.

    One that somebody waits for is used once before it goes: two who ask for the same place would
    unload each other's for ever. A pin goes only where everything is pinned: more pins than there
    are places must not keep all others out.

    Args:
        held: what takes a place.
        busy: digests in use.
        wanted: digests that somebody waits for.
        owner: the tenant for whom room is made. One that holds its share of the places alone makes
            room among those: asking for one version after the other unloads nobody else's.
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
        own = [e for e in idle if e.owner == owner] if _has_its_share(held, owner) else []
        return min(own or idle, key=lambda e: (e.level, e.used))
    return min(free, key=lambda e: e.busy_since or e.used, default=None)


def _has_its_share(held: Sequence[Entry], owner: str | None) -> bool:
    """Whether a tenant holds as many places alone as it would if all who hold some had as many."""
    if owner is None:
        return False
    # What several use (None) counts as one more who holds some.
    holders = {entry.owner for entry in held} | {owner}
    return sum(entry.owner == owner for entry in held) * len(holders) >= len(held)
