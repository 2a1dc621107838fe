"""What a repository says it lacks: what is written, and how little of it is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.release import FileEntry, Release
from adapterworks.registry.remotes.absent import write_absent
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.record import fetch_absent
from tests.registry.releases import draft
from tests.registry.remotes.hub.memory import REPOSITORY, MemoryHub

ABSENT = "adapterworks/absent.json"
ROWS = "predictions.jsonl"
RELEASE = Release.from_draft(
    draft(),
    {
        path: FileEntry.at(path, digest=f"sha256:{path}", size=1)
        for path in (ROWS, "adapter/w", "report.json")
    },
)


def fetched(tmp_path: Path, statement: bytes) -> dict[str, str]:
    """What is made of a statement; `{commit}` stands for its commit."""
    hub = MemoryHub()
    state = hub.fill({ABSENT: statement})
    found = fetch_absent(cast(Hub, hub), state, RELEASE, tmp_path)
    assert hub.fetched == [(ABSENT, 1 << 20)]
    return {path: said.replace(state.commit, "{commit}") for path, said in found.items()}


def test_a_push_says_what_it_withholds_and_the_day_of_an_erasure() -> None:
    erased = Absence("erased", "2026-11-28T01:02:03Z", "ann", "Jane Roe withdrew")
    withheld = Absence("withheld", "2026-11-28T01:02:03Z", "ann", "not sent")
    statement = write_absent({"a": None, "b": withheld, "c": erased})
    assert json.loads(statement) == {
        "schema_version": 1,
        "files": {
            "a": {"state": "withheld", "at": None},
            "b": {"state": "withheld", "at": None},
            "c": {"state": "erased", "at": "2026-11-28"},
        },
    }


def test_a_repository_without_a_statement_lacks_nothing(tmp_path: Path) -> None:
    hub = MemoryHub()
    assert fetch_absent(cast(Hub, hub), hub.fill({"a": b""}), RELEASE, tmp_path) == {}
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"state": "withheld", "at": None}, "not sent"),
        ({"state": "erased", "at": "2026-11-28"}, "said to be erased on 2026-11-28"),
        ({"state": "erased", "at": "2026-11-28T01:02"}, "said to be erased on 2026-11-28"),
        ({"state": "erased", "at": "\x1b[31m"}, "said to be erased"),
        ({"state": "erased", "at": 7}, "said to be erased"),
        ({"state": "erased"}, "said to be erased"),
        ({"state": "something"}, "not sent"),
        (7, "not sent"),
        (None, "not sent"),
    ],
)
def test_it_is_told_as_what_the_repository_says(tmp_path: Path, entry: Any, said: str) -> None:
    statement = json.dumps({"files": {ROWS: entry}}).encode()
    assert fetched(tmp_path, statement) == {ROWS: f"{said} by hub:{REPOSITORY}@{{commit}}"}


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (b"{}", "has no table `files`"),
        (b"[]", "has no table `files`"),
        (b'{"files": []}', "has no table `files`"),
        (b'{"files": {"adapter/w": {}}}', "leaves out `adapter/w`, which cannot be"),
        (b'{"files": {"nothing": {}}}', "leaves out `nothing`, which cannot be"),
        (b'{"files": {"predictions.jsonl": {}, "": {}}}', "leaves out ``, which cannot be"),
    ],
)
def test_a_statement_of_what_cannot_be_is_refused(
    tmp_path: Path, statement: bytes, words: str
) -> None:
    with pytest.raises(IntegrityError, match=words):
        fetched(tmp_path, statement)


def test_a_statement_is_json_of_few_levels(tmp_path: Path) -> None:
    deep = b'{"files": {"predictions.jsonl": ' + b"[" * 6 + b"]" * 6 + b"}}"
    assert len(fetched(tmp_path, deep)) == 1
    deeper = b'{"files": {"predictions.jsonl": ' + b"[" * 7 + b"]" * 7 + b"}}"
    with pytest.raises(ImportRefused, match="deeper than 8 levels"):
        fetched(tmp_path, deeper)
