"""The record of a repository: one spelling, bounded, and no path that means two things."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import AdapterworksError, IntegrityError
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.releases.release import FileEntry, Release
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.record import fetch_record
from adapterworks.registry.remotes.record import MAX_RECORD, parse_record
from tests.registry.releases import draft
from tests.registry.remotes.hub.memory import MemoryHub

DIGEST = f"sha256:{'1' * 64}"
RELEASE = Release.from_draft(
    draft(), {"adapter/w": FileEntry.at("adapter/w", digest=DIGEST, size=10)}
)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The record with a change, in canonical form again."""
    table = json.loads(RELEASE.to_bytes())
    change(table)
    return canonical_json(table)


def entry(path: str, size: int = 1, digest: str = DIGEST) -> Callable[[dict[str, Any]], object]:
    """A change that adds a file."""
    made = FileEntry.at(path, digest=digest, size=size).model_dump()
    return lambda table: table["files"].update({path: made})


def test_a_record_is_read_as_it_was_pushed(tmp_path: Path) -> None:
    hub = MemoryHub()
    state = hub.fill({"adapterworks/release.json": RELEASE.to_bytes()})
    data = fetch_record(cast(Hub, hub), state, tmp_path)
    assert hub.fetched == [("adapterworks/release.json", 8 << 20)]
    assert MAX_RECORD == 8 << 20
    read = parse_record(data, "org/a")
    assert read.to_bytes() == data == RELEASE.to_bytes()
    assert read.digest == digest_bytes(data)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (RELEASE.to_bytes() + b"\n", "is not in canonical form"),
        (json.dumps(json.loads(RELEASE.to_bytes())).encode(), "is not in canonical form"),
        (b"{}", "is not a release record"),
        (b"[]", "is not a release record"),
        (changed(entry("adapter")), "`adapter` of `org/a` is a file and a folder"),
        (changed(entry("adapter/w/more/deep")), "`adapter/w` of `org/a` is a file and a folder"),
        (changed(lambda t: t.update(description="a\0b")), "has a text with a NUL"),
        (changed(lambda t: t.update(manifest={"a": [{"\0": 1}]})), "has a text with a NUL"),
        (changed(lambda t: t.update(manifest={"a": [["b", "\0"]]})), "has a text with a NUL"),
        (changed(entry("big", size=(1 << 50) - 9)), f"claims {(1 << 50) + 1} bytes"),
        (RELEASE.to_bytes().replace(b'"exact_match":0.001', b'"exact_match":1e400'), "record"),
    ],
)  # fmt: skip
def test_what_is_no_record_of_ours_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        parse_record(data, "org/a")


def test_a_path_that_leads_elsewhere_is_refused() -> None:
    with pytest.raises(AdapterworksError, match="is not a path inside a release"):
        parse_record(changed(entry("../above")), "org/a")


def test_at_the_limits_it_is_taken() -> None:
    assert parse_record(changed(entry("big", size=(1 << 50) - 10)), "org/a").size == 1 << 50


def test_an_integer_that_json_does_not_hold_has_no_canonical_form() -> None:
    data = RELEASE.to_bytes().replace(b'"seed":null', b'"seed":9007199254740993')
    assert data != RELEASE.to_bytes()
    with pytest.raises(IntegrityError, match="has no canonical form"):
        parse_record(data, "org/a")


def test_a_record_has_few_levels() -> None:
    nested: Any = 1
    for _ in range(14):
        nested = [nested]
    parse_record(changed(lambda t: t.update(manifest={"a": nested})), "org/a")
    with pytest.raises(ImportRefused, match="deeper than 16 levels"):
        parse_record(changed(lambda t: t.update(manifest={"a": [nested]})), "org/a")
