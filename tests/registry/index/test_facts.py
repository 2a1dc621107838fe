"""What is learnt after publishing: tags, deprecation, other facts; the record stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish


def found(registry: Registry, text: str = "", **filters: str) -> list[str]:
    return [f"{row.name}@{row.version}" for row in registry.search(text, **filters)]  # type: ignore[arg-type]


def test_tags_are_given_and_taken_and_searched(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1)  # tags: icd, coding
    publish(registry, tmp_path, 2, tags=("Icd",))
    record = registry.release(registry.resolve("medical@1").digest).to_bytes()
    tags = registry.tag("medical", 1, add=["geprüft", "医疗"], remove=["icd"], who="ann", why="x")
    assert tags == ("coding", "geprüft", "医疗")
    assert registry.version("medical", 1).tags == tags
    assert found(registry, tag="geprüft") == found(registry, "医疗") == ["medical@1"]
    assert found(registry, tag="icd") == [] or registry.database.is_sqlite
    assert "medical@1" not in found(registry, tag="icd")
    assert registry.release(registry.resolve("medical@1").digest).to_bytes() == record
    event = registry.log.events("medical", version=1, limit=1)[0]
    assert (event.kind, event.who, event.why) == ("tag", "ann", "x")
    assert event.data == {"added": ["geprüft", "医疗"], "removed": ["icd"]}


def test_tags_come_back_and_what_changes_nothing_is_not_logged(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1)
    registry.tag("medical", 1, remove=["icd"], who="ann")
    assert registry.tag("medical", 1, add=["icd"], who="ann") == ("coding", "icd")
    assert registry.version("medical", 1).tags == ("icd", "coding")
    assert found(registry, tag="icd") == ["medical@1"]
    before = len(registry.log.events("medical"))
    registry.tag("medical", 1, add=["icd"], remove=["never"], who="ann")
    assert len(registry.log.events("medical")) == before


def test_a_tag_is_no_pattern(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1, tags=("abc", "100x"))
    assert found(registry, tag="a_c") == found(registry, tag="100%") == []
    publish(registry, tmp_path, 2, tags=("a_c", "100%"))
    assert found(registry, tag="a_c") == found(registry, tag="100%") == ["medical@2"]


def test_chinese_tags_of_the_record_are_found_by_words(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1, tags=("医疗",))
    assert found(registry, "医疗") == found(registry, tag="医疗") == ["medical@1"]


@pytest.mark.parametrize("tag", ["", "two words", "tab\there", "x" * 65, "\x1b[2J"])
def test_what_is_no_tag_is_refused(local_registry: Registry, tmp_path: Path, tag: str) -> None:
    publish(local_registry, tmp_path, 1)
    with pytest.raises(InvalidInput, match="is not a tag"):
        local_registry.tag("medical", 1, add=[tag], who="ann")
    with pytest.raises(InvalidInput, match="both"):
        local_registry.tag("medical", 1, add=["a"], remove=["a"], who="ann")


def test_a_deprecation_stands_until_it_is_taken_back(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1)
    publish(registry, tmp_path, 2)
    assert registry.log.deprecation("medical", 1) is None
    registry.log.deprecate("medical", 1, who="ann", why="wrong split")
    standing = registry.log.deprecation("medical", 1)
    assert standing is not None
    assert (standing.who, standing.why) == ("ann", "wrong split")
    assert registry.log.deprecation("medical", 2) is None
    registry.log.deprecate("medical", 1, who="bob", why="it was right", deprecated=False)
    assert registry.log.deprecation("medical", 1) is None


def test_facts_are_what_came_after_publishing(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1, alias="prod")
    registry.log.note("medical", 1, "export", who="ann", form="gguf", digest="sha256:0")
    registry.log.note("medical", 1, "proof", who="gateway", engine="vllm", result="proved")
    registry.tag("medical", 1, add=["reviewed"], who="ann")
    facts = registry.log.events("medical", version=1, facts=True)
    assert [event.kind for event in facts] == ["tag", "proof", "export"]
    assert [event.kind for event in registry.log.events("medical", version=1)][-2:] == [
        "promote",
        "publish",
    ]


def test_a_version_that_is_not_there_is_neither_tagged_nor_deprecated(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1)
    registry.delete("medical", 1, who="ann")
    with pytest.raises(NotFound, match="was deleted"):
        registry.tag("medical", 1, add=["x"], who="ann")
    with pytest.raises(NotFound, match="was deleted"):
        registry.log.deprecate("medical", 1, who="ann", why="x")
    with pytest.raises(NotFound):
        registry.tag("other", 1, add=["x"], who="ann")
