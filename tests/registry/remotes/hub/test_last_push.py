"""The last push of a name is one to this very Hub and repository."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.push import _last_push
from tests.registry.releases import publish


def test_a_push_elsewhere_is_not_the_last_one_here(
    local_registry: Registry, tmp_path: Path
) -> None:
    publish(local_registry, tmp_path)
    for endpoint, repository, commit in (
        ("https://hub", "org/a", "first"),
        ("https://hub", "org/a", "second"),
        ("https://other", "org/a", "elsewhere"),
        ("https://hub", "org/b", "another"),
    ):
        local_registry.log.note(
            "medical", 1, "push", who="ann", endpoint=endpoint, repository=repository, commit=commit
        )

    def last(endpoint: str, repository: str) -> str | None:
        hub = cast(Hub, SimpleNamespace(endpoint=endpoint))
        return _last_push(local_registry, hub, "medical", repository)

    assert last("https://hub", "org/a") == "second"
    assert last("https://other", "org/a") == "elsewhere"
    assert last("https://other", "org/b") is None
