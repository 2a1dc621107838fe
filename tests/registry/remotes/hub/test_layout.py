"""Where each file of a release is in a repository."""

from __future__ import annotations

import pytest

from adapterworks.registry.releases.release import FileEntry, Release
from adapterworks.registry.remotes.hub.layout import layout, root_role
from tests.registry.releases import draft


def release(*paths: str, **same: str) -> Release:
    """A release of these paths; `same` gives a path the bytes of another."""
    entries = {
        path: FileEntry.at(path, digest=f"sha256:{same.get(path, path)}", size=1)
        for path in (*paths, *same)
    }
    return Release.from_draft(draft(), entries)


def test_the_adapter_is_at_the_root_where_peft_looks() -> None:
    found = layout(release("report.json", "adapter/adapter_config.json", "adapter/deep/a.bin"))
    assert found == {
        "adapter_config.json": "adapter/adapter_config.json",
        "deep/a.bin": "adapter/deep/a.bin",
        "report.json": "report.json",
    }


def test_what_has_the_adapters_bytes_is_not_sent_twice() -> None:
    """The servable form of a LoRA is the adapter itself, and it is the adapter that is kept."""
    made = release("adapter/w", **{"servable/w": "adapter/w", "a-copy": "adapter/w"})
    assert layout(made) == {"w": "adapter/w"}
    assert layout(release("b", **{"c": "b", "a": "b"})) == {"a": "a"}


def test_names_that_the_hub_or_we_use_at_the_root_are_moved() -> None:
    found = layout(
        release(
            "README.md", ".gitattributes", "adapterworks/release.json", "adapter/README.md",
            "adapter/.gitattributes", "adapter/adapterworks/absent.json", "adapterworks",
        )
    )  # fmt: skip
    assert found == {
        "adapterworks/adapter/README.md": "adapter/README.md",
        "adapterworks/adapter/.gitattributes": "adapter/.gitattributes",
        "adapterworks/adapter/adapterworks/absent.json": "adapter/adapterworks/absent.json",
        "adapterworks/README.md": "README.md",
        "adapterworks/.gitattributes": ".gitattributes",
        "adapterworks/adapterworks/release.json": "adapterworks/release.json",
        "adapterworks": "adapterworks",
    }


def test_a_file_at_the_top_gives_way_to_the_adapters() -> None:
    assert layout(release("report.json", "adapter/report.json")) == {
        "report.json": "adapter/report.json",
        "adapterworks/report.json": "report.json",
    }


@pytest.mark.parametrize(
    ("paths", "role"),
    [
        (("servable/w", "adapter/w", "full/w"), "adapter"),
        (("servable/w", "full/w"), "full"),
        (("servable/w", "adapterish/w"), "servable"),
        (("report.json",), "adapter"),
    ],
)
def test_what_is_at_the_root(paths: tuple[str, ...], role: str) -> None:
    assert root_role(release(*paths)) == role
