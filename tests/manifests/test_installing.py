"""An extra comes from where adapterworks came, not from whatever has its name on an index."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from adapterworks.manifests.installing import install, requirement


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (None, "adapterworks[build]"),
        ({"url": "file:///no/such/folder", "dir_info": {}}, "adapterworks[build]"),
        (
            {"url": "https://example.com/a.whl", "archive_info": {}},
            "adapterworks[build] @ https://example.com/a.whl",
        ),
        (
            {"url": "https://example.com/a.git", "vcs_info": {"vcs": "git", "commit_id": "12ab"}},
            "adapterworks[build] @ git+https://example.com/a.git@12ab",
        ),
    ],
)
def test_where_it_came_from(told: dict[str, Any] | None, wanted: str) -> None:
    assert requirement(None if told is None else json.dumps(told), ("build",)) == wanted


def test_a_folder_or_a_wheel_is_named_by_its_path(tmp_path: Path) -> None:
    for name in ("a checkout", "adapterworks-1.whl"):
        place = tmp_path / name
        place.mkdir()
        assert (
            requirement(json.dumps({"url": place.as_uri()}), ("gpu", "demo"))
            == f"{place}[gpu,demo]"
        )


def test_the_hint_of_this_installation_is_not_of_an_index() -> None:
    told = json.loads(distribution("adapterworks").read_text("direct_url.json") or "{}")
    root = Path(unquote(urlsplit(told["url"]).path))
    assert (root / "pyproject.toml").is_file()
    assert install("build") == f"pip install '{root}[build]'"
