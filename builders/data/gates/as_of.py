"""When rows are judged: by the seals of now, or by those of when a release was built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AsOf:
    """When rows are judged: now, or as they were for a release that is there.

    Attributes:
        until: seals made later are not seen (RFC 3339; "" sees none); None sees all.
        own: whether replayed rows are held against the build's own test rows.
    """

    until: str | None = None
    own: bool = True


NOW = AsOf()
