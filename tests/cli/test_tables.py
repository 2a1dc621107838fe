"""`adapters metrics` and its like: every entry with its origin; what is broken breaks itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapterworks.cli.main import cli
from adapterworks.manifests import entry_points
from adapterworks.manifests.builtin import BUILTIN, Kind
from adapterworks.manifests.load import check_manifest, load_manifest
from tests.distribution import write_distribution

COMMANDS: dict[str, tuple[Kind, ...]] = {
    "methods": ("methods",),
    "objectives": ("objectives",),
    "metrics": ("metrics",),
    "gates": ("data_gates", "quality_gates"),
    "formats": ("formats",),
    "recipes": ("recipes",),
    "suites": ("retention_suites",),
    "trackers": ("trackers",),
    "merge-rules": ("merge_rules",),
    "exports": ("exports",),
    "optimizers": ("optimizers",),
    "schedules": ("schedules",),
}
GATE = """
from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Finding

GATE = Gate("calm", "Rows that shout.", lambda *given: Finding((), 0.0), 0.5, "share", "drop")
"""
POINTS = {
    "metrics": {"broken": "acme_broken:METRIC", "number": "acme_number:VALUE"},
    "data_gates": {"calm": "acme_gate:GATE", "wild": "acme_broken:GATE"},
    "recipes": {"number": "acme_number:VALUE"},
}
FILES = {
    "acme_broken.py": "import not_there\n",
    "acme_number.py": "VALUE = 3\n",
    "acme_gate.py": GATE,
}
MANIFEST = """
[adapter]
name = "one"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "icd-10-cm:train"
test = "icd-10-cm:test"
[evaluate]
metrics = ["exact_match"]
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution that is installed and half of which is broken."""
    site = write_distribution(tmp_path / "site", "acme-extras", "1.2", POINTS, FILES)
    monkeypatch.syspath_prepend(site)
    entry_points.forget()
    before = set(sys.modules)
    yield tmp_path
    entry_points.forget()
    for name in set(sys.modules) - before:
        if name.startswith("acme_"):
            del sys.modules[name]


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output or result.exception
    return result


@pytest.mark.parametrize("command", COMMANDS)
def test_every_built_in_is_listed(command: str) -> None:
    listed = json.loads(run(command, "--json").stdout)
    names = [(entry["table"], entry["name"]) for entry in listed if entry["from"] == "built in"]
    assert names == [(kind, name) for kind in COMMANDS[command] for name in BUILTIN[kind]]
    text = run(command).stdout
    for entry in listed:
        assert entry["description"]
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [entry["name"]]]
        assert line.endswith(entry["description"])


def entry(command: str, name: str) -> dict[str, Any]:
    (found,) = [e for e in json.loads(run(command, "--json").stdout) if e["name"] == name]
    return dict(found)


@pytest.mark.usefixtures("acme")
def test_what_is_installed_has_its_distribution() -> None:
    found = entry("gates", "calm")
    assert (found["from"], found["distribution"], found["version"]) == (
        "acme-extras 1.2",
        "acme-extras",
        "1.2",
    )
    assert (found["threshold"], found["unit"], found["action"]) == (0.5, "share", "drop")
    assert "calm                   acme-extras 1.2  0.5        drop" in run("gates").stdout


@pytest.mark.usefixtures("acme")
def test_what_is_broken_is_listed_with_its_error_beside_the_others() -> None:
    broken = entry("metrics", "broken")
    assert "of `acme-extras 1.2` cannot be loaded: ModuleNotFoundError" in broken["error"]
    assert entry("metrics", "exact_match")["description"]
    assert "neither a `Metric` nor a function" in entry("metrics", "number")["error"]
    assert "is a int, not a `Recipe`" in entry("recipes", "number")["error"]
    assert "error: the metric `broken` of `acme-extras 1.2`" in run("metrics").stdout


def test_a_broken_distribution_is_a_fault_where_it_is_named_and_nowhere_else(acme: Path) -> None:
    path = acme / "one.toml"
    path.write_text(MANIFEST)
    gates = load_manifest(path).data.gates
    assert "calm" not in gates.root  # off unless it is named
    assert run("schema").stdout  # describes the others
    path.write_text(MANIFEST.replace('"exact_match"', '"exact_match", "broken"'))
    (found,) = check_manifest(path)[1]
    assert (found.line, found.key) == (12, "evaluate.metrics[1]")
    assert "cannot be loaded: ModuleNotFoundError" in found.message
    assert found.hint == "mend or uninstall `acme-extras`"
    path.write_text(MANIFEST + "[data.gates.wild]\n[data.gates.calmm]\n")
    wild, calm = check_manifest(path)[1]
    assert (wild.line, wild.key) == (13, "data.gates.wild")
    assert "cannot be loaded" in wild.message
    assert (calm.key, calm.hint) == ("data.gates.calmm", "did you mean `calm`?")


def test_a_named_gate_of_a_distribution_is_on_with_its_own_setting(acme: Path) -> None:
    path = acme / "one.toml"
    path.write_text(MANIFEST + "[data.gates]\ncalm.threshold = 0.25\nsecrets.on = true\n")
    gates = load_manifest(path).data.gates
    calm = gates["calm"]
    assert (calm.on, calm.threshold, calm.action) == (True, 0.25, "drop")
    assert gates["secrets"].action == "fail"
    overridden = load_manifest(path, overrides=["data.gates.calm.on=false"]).data.gates["calm"]
    assert (overridden.on, overridden.action) == (False, "drop")
