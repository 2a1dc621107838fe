"""Pull: a commit that was pushed by us becomes the same release here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.arriving import Pulled, arrive
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.held import HubRelease


def pull(
    registry: Registry,
    hub: Hub,
    state: RepoState,
    *,
    who: str,
    scratch: Path,
    find_base: Callable[[str], Base | None],
    name: str | None = None,
    alias: str | None = None,
) -> Pulled:
    """Pull the release at `state` (a commit that has a record); see `arriving.arrive`."""
    held = HubRelease(hub, state, scratch)
    return arrive(
        registry, held, who=who, scratch=scratch, find_base=find_base, name=name, alias=alias
    )
