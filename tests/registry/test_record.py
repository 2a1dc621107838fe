"""The record: version 1 is read for ever, version 2 says what lasts; bytes decide the digest."""

from __future__ import annotations

import getpass
import json
import re
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapterworks.manifests.digests import canonical_json, digest_bytes
from adapterworks.manifests.errors import IntegrityError, InvalidInput
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.record import NotARecord, read_record
from adapterworks.registry.releases.release import (
    Draft,
    FileEntry,
    Parent,
    Provenance,
    Release,
    Stage,
)
from adapterworks.registry.releases.version1 import Record1
from adapterworks.registry.remotes.record import parse_record
from tests.registry.releases import draft, folder
from tests.upgrade.old_home import FIXTURE

# Written by the code of e6b91c0, the last that wrote version 1.
OLD = (Path(__file__).parent / "data" / "version1.json").read_bytes()
OLD_DIGEST = "sha256:002cefb3f50a6ce51099ba778726a94a7e9d15166280a8dae1a3ae37c603015b"


FILE = {"digest": f"sha256:{'1' * 64}", "size": 1, "role": "other"}


def record(**fields: object) -> Release:
    path = "adapter/adapter_model.safetensors"
    entry = FileEntry.at(path, digest=f"sha256:{'1' * 64}", size=10)
    return Release.from_draft(draft(**fields), {path: entry})


def test_an_old_record_keeps_its_bytes_and_its_digest() -> None:
    release = read_record(OLD)
    assert release.to_bytes() == OLD
    assert release.digest == OLD_DIGEST
    assert release.to_json() == json.loads(OLD)


def test_an_old_record_says_what_it_said_in_todays_words() -> None:
    release = read_record(OLD)
    assert (release.name, release.method, release.created_by) == ("medical", "qlora", "ann")
    assert release.tags == ("icd", "编码")
    assert release.parents == (Parent(relation="parent", ref="medical@1"),)
    assert release.plan == f"sha256:{'9' * 64}"
    assert (release.provenance.made, release.provenance.seed) == ("built", 42)
    assert release.withhold is None
    assert {path: entry.role for path, entry in release.files.items()} == {
        "adapter/adapter_model.safetensors": "adapter",
        "servable/adapter_model.safetensors": "servable",
        "predictions.jsonl": "predictions",
    }
    assert release.size == 27


@pytest.mark.parametrize("name", ["tickets", "notes"])
def test_the_records_of_the_old_hub_folder_are_read_byte_for_byte(name: str) -> None:
    data = (FIXTURE / "hub" / "org" / name / "adapterworks" / "release.json").read_bytes()
    facts = json.loads((FIXTURE / "facts.json").read_text(encoding="utf-8"))
    release = read_record(data)
    assert release.to_bytes() == data
    assert release.digest == facts["digests"][f"{name}@1"]


def test_what_an_old_record_becomes_is_another_release() -> None:
    """A changed draft of it is a version 2 record, not the old bytes under a new name."""
    old = read_record(OLD)
    other = Release.from_draft(old.to_draft(name="other"), old.files)
    assert other.digest != OLD_DIGEST
    assert other.to_json()["schema_version"] == 2
    assert read_record(other.to_bytes()).name == "other"


def test_a_record_is_read_as_it_was_written() -> None:
    full = record(
        digests={"train": f"sha256:{'a' * 64}", "publish": f"sha256:{'c' * 64}"},
        stage=Stage(name="dpo", index=1, count=2),
        parents=(
            Parent(relation="stage", digest=f"sha256:{'d' * 64}", ref="code@4"),
            Parent(relation="merge", digest=f"sha256:{'e' * 64}", weight=0.25),
        ),
        provenance=Provenance(objective="dpo", seed=7, data={"train": f"sha256:{'f' * 64}"}),
        withhold=("predictions.jsonl",),
        details={"merge": {"rule": "ties"}},
    )
    again = read_record(full.to_bytes())
    assert again.to_bytes() == full.to_bytes()
    assert again.digest == full.digest == digest_bytes(full.to_bytes())
    assert {name: getattr(again, name) for name in Release.model_fields} == {
        name: getattr(full, name) for name in Release.model_fields
    }


def test_a_fact_that_a_later_program_adds_is_passed_over_and_keeps_the_digest() -> None:
    table = record().to_json()
    table["carbon"] = {"grams": 12}
    table["provenance"]["grid"] = "hydro"
    table["files"]["adapter/adapter_model.safetensors"]["chunks"] = 3
    data = canonical_json(table)
    release = read_record(data)
    assert release.name == "medical"
    assert release.to_bytes() == data
    assert release.digest == digest_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 3}, "`schema_version` is 3"),
        ({"schema_version": True}, "`schema_version` is True"),
        ({"artifact": "dataset"}, "`artifact`"),
        ({"name": "../x"}, "`name`"),
        ({"files": {"a": {"digest": "sha256:0"}}}, "`files.a.size`"),
        ({"parents": [{"relation": "merge"}]}, "a parent needs a digest"),
        ({"provenance": {"made": "by hand!"}}, "`provenance.made`"),
    ],
)
def test_what_is_no_record_is_refused_by_its_key(change: dict[str, object], message: str) -> None:
    with pytest.raises(NotARecord, match=re.escape(message)):
        read_record(canonical_json(record().to_json() | change))


@pytest.mark.parametrize("data", [b"", b"[]", b"nul", b"[" * 100_000, b'"schema_version"'])
def test_what_is_no_json_table_is_refused(data: bytes) -> None:
    with pytest.raises(NotARecord):
        read_record(data)


@pytest.mark.parametrize("train", ["x", None, [1], {"seed": "x"}, {}])
def test_an_old_record_with_any_manifest_is_read(train: object) -> None:
    """A stranger's: version 1 never looked at what is in it."""
    data = canonical_json(json.loads(OLD) | {"manifest": {"train": train}})
    release = read_record(data)
    assert release.provenance.seed is None
    assert release.to_bytes() == data
    assert release.declared("train") == (train if isinstance(train, dict) else {})


def test_a_file_has_no_negative_size() -> None:
    table = json.loads(record().to_bytes())
    table["files"]["adapter/adapter_model.safetensors"]["size"] = -1
    with pytest.raises(NotARecord, match="size"):
        read_record(canonical_json(table))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"details": {"x": 2**62}}, "has no canonical form"),
        ({"description": "a\0b"}, "a text with a NUL"),
        ({"files": {"a.json": FILE, "a.json/b.json": FILE}}, "is a file and a folder"),
        ({"files": {f"plots/{'x' * 256}": FILE}}, "is not a path inside a release"),
        (
            {
                "files": {
                    "rows.jsonl": {"digest": f"sha256:{'1' * 64}", "size": 2**52, "role": "rows"}
                }
            },
            "claims",
        ),
    ],
)
def test_a_strangers_numbers_are_refused_before_anything_is_fetched(
    table: dict[str, object], message: str
) -> None:
    values = json.loads(record().to_bytes()) | table
    with pytest.raises((IntegrityError, InvalidInput), match=message):
        parse_record(json.dumps(values, sort_keys=True, separators=(",", ":")).encode(), "org/x")


def test_an_old_record_takes_no_new_keys() -> None:
    """Version 1 is closed: its readers refused what they did not know, and so does this one."""
    with pytest.raises(ValidationError):
        Record1.model_validate_json(canonical_json(json.loads(OLD) | {"parents": []}))


def test_a_draft_takes_no_unknown_field() -> None:
    with pytest.raises(ValidationError):
        Draft(**{**draft().model_dump(), "parent": "medical@1"})


def test_the_author_is_a_name_that_was_given(tmp_path: Path) -> None:
    stores = {"database": f"sqlite:///{tmp_path / 'i.db'}", "blobs": str(tmp_path / "blobs")}
    files = folder(tmp_path / "files")
    for author, expected in (("", "unnamed"), ("Ann of Oslo", "Ann of Oslo")):
        with Registry.open(**stores, home=tmp_path, author=author) as registry:
            unsigned = draft(created_by="", name=f"by-{len(author)}")
            published = registry.publish(files, unsigned, who=getpass.getuser())
            release = registry.release(published.digest)
        assert release.created_by == expected
        text = release.to_bytes().decode()
        assert str(tmp_path) not in text
        assert socket.gethostname() not in text
