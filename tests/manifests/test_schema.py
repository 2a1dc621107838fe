"""The JSON Schema accepts what loads, refuses what does not, and describes every key."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from adapterworks.cli.main import cli
from adapterworks.manifests.document import built_in_manifests, find_manifest
from adapterworks.manifests.schema import manifest_schema

SCHEMA = manifest_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", built_in_manifests())
def test_it_accepts_the_built_in_manifests(name: str) -> None:
    VALIDATOR.validate(tomllib.loads(find_manifest(name).read_text(encoding="utf-8")))


def test_it_accepts_a_full_manifest_and_any_part_as_profile(write: Any) -> None:
    extra = '[[data.mix]]\nsource = "a:b"\n[profiles.p.method]\nrank = 4\n[profiles.q]\n'
    VALIDATOR.validate(tomllib.loads(write(extra=extra).read_text()))


@pytest.mark.parametrize(
    "change",
    [
        ("rank = 16", "rankk = 16"),
        ("rank = 16", "rank = '16'"),
        ("[train]", "[trian]"),
        ('kind = "qlora"', 'kind = "lorra"'),
        ("data.limit = 600", "data.limits = 600"),
        ("data.limit = 600", "data.limit = 0"),
        ('name = "demo"', 'description = "no name"'),
    ],
)
def test_it_refuses_what_does_not_load(write: Any, change: tuple[str, str]) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(write(change).read_text()))


def test_every_key_is_described() -> None:
    missing = [
        f"{name}.{key}"
        for name, definition in SCHEMA["$defs"].items()
        for key, value in definition.get("properties", {}).items()
        if "description" not in value and "$ref" not in json.dumps(value)
    ]
    assert missing == []


def test_the_command_prints_it() -> None:
    result = CliRunner().invoke(cli, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == SCHEMA
