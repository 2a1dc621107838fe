"""Tutorials and how-tos do what they say: commands are typed, output is compared by shape."""

from __future__ import annotations

import pytest

from tests.docs.blocks import ROOT, blocks
from tests.docs.scene import Scene

TUTORIALS = ("own-data",)
# In this order, in the home that the tutorials leave.
HOW_TO = (
    *("keys", "backup", "incident", "erasure", "capture", "datasets", "webhooks"),
    *("upgrade", "systemd", "migrate"),
)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.train
@pytest.mark.parametrize(
    "page", [f"tutorials/{n}" for n in TUTORIALS] + [f"how-to/{n}" for n in HOW_TO]
)
def test_a_page_does_what_it_says(scene: Scene, page: str) -> None:
    scene.page(ROOT / "docs" / f"{page}.md")


def test_the_translations_have_the_same_commands_and_files() -> None:
    for page in sorted(ROOT.glob("docs/**/*.zh.md")):
        english = page.with_name(page.name.replace(".zh.md", ".md"))
        assert blocks(page) == blocks(english), page.name
