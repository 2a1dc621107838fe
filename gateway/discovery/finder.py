"""Who is asked which engines there are: one method, a member for each kind of place."""

from __future__ import annotations

from typing import Protocol

from adapterworks.manifests.errors import Unavailable


class NotTold(Unavailable):
    """Which engines there are cannot be told now; those that were found stay."""


class Finder(Protocol):
    """Says which engines there are."""

    async def urls(self) -> frozenset[str]:
        """Of all engines there are now, without a trailing slash.

        Raises:
            NotTold: it cannot be said now.
        """

    async def close(self) -> None:
        """Let go of connections; idempotent."""
