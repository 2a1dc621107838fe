"""The card of a repository: whatever a release's manifest is, it can be pushed."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.registry.releases.release import FileEntry, Release
from adapterworks.registry.remotes.hub.card import build_card
from tests.registry.releases import draft


@pytest.mark.parametrize(
    "manifest",
    [
        {"adapter": 7, "data": "x"},
        {"adapter": {"language": 5}, "data": {"train": 3, "mix": 4}},
        {"adapter": {"language": [1, "en"]}, "data": {"train": "hub:a/b@c", "mix": [5, {}]}},
    ],
)
def test_a_strangers_manifest_of_any_shape_has_a_card(manifest: dict[str, Any]) -> None:
    path = "adapter/adapter_model.safetensors"
    entry = FileEntry.at(path, digest=f"sha256:{'1' * 64}", size=10)
    release = Release.from_draft(draft(manifest=manifest), {path: entry})
    card = build_card(release, "", repository="org/x")
    assert "library_name: peft" in card
    assert ("- a/b" in card) == ("hub:a/b@c" in str(manifest))
