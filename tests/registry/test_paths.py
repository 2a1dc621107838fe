"""Paths inside a release lead nowhere else, on any system."""

from __future__ import annotations

import pytest

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.releases.paths import check_path


@pytest.mark.parametrize(
    "path", ["a", "servable/adapter_config.json", "a b/数据.csv", "...", "a..b"]
)
def test_a_plain_path_is_given_back(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "./a", "a\\b", "..\\a", "a\nb",
     "a\x00b", "a\u202eb"],
)  # fmt: skip
def test_a_path_that_leads_anywhere_else_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="is not a path inside a release"):
        check_path(path)
