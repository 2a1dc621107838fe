"""docs/reference/manifest.md is what the models say."""

from __future__ import annotations

from pathlib import Path

from adapterworks.manifests.reference import reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "manifest.md"


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference()
    for title in ("[adapter]", "[[data.mix]]", "[data.gates]", "[[evaluate.gates]]", "[serve]"):
        assert f"## `{title}`" in reference()
