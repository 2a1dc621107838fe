"""`org/name@revision`, and what is no name of a repository."""

from __future__ import annotations

import pytest

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.remotes.hub.names import HubSource, parse_source


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("org/name", "org/name", "main"),
        ("hub:org/name", "org/name", "main"),
        ("hub:Org-1/na.me_2@v3", "Org-1/na.me_2", "v3"),
        ("org/name@refs/pr/1", "org/name", "refs/pr/1"),
        ("o/n@" + "a" * 40, "o/n", "a" * 40),
        ("o" * 96 + "/n@" + "r" * 200, "o" * 96 + "/n", "r" * 200),
    ],
)
def test_a_source_is_a_repository_at_a_revision(text: str, repository: str, revision: str) -> None:
    source = parse_source(text)
    assert (source.repository, source.revision) == (repository, revision)
    assert str(source) == f"hub:{repository}@{revision}"
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "org/", "/name", "org/name/more", "org/name@", "org/na me", "org/name@a b",
        "hub:hub:org/name", "org/../name", "org/name@..", "org/na..me", "org/na--me", "-org/name",
        "org-/name", "org/name.", "o" * 97 + "/n", "o/n@" + "r" * 201, "org/name\n", "https://x/y",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a Hub repository"):
        parse_source(text)


def test_a_revision_may_have_what_a_name_may_not() -> None:
    assert parse_source("org/name@a--b").revision == "a--b"


@pytest.mark.parametrize(
    ("revision", "fixed"),
    [("a" * 40, True), ("0" * 40, True), ("a" * 39, False), ("a" * 41, False), ("A" * 40, False),
     ("main", False), ("g" * 40, False)],
)  # fmt: skip
def test_only_a_whole_commit_cannot_move(revision: str, fixed: bool) -> None:
    assert HubSource("org/name", revision).is_commit is fixed
