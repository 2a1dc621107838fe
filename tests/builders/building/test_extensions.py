"""What others add, from the manifest to the card: by an entry point, and by a file beside it.

One build in processes of its own, whose import path has a distribution that adapterworks has never
heard of: a row format, a metric, a data gate and a quality gate, one file each; and a file with a
metric and a data gate stands beside the manifest.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.digests import digest_bytes
from adapterworks.registry.registry import Registry
from tests.builders.build_support import make_tiny_base
from tests.builders.workshop import Workshop
from tests.distribution import write_distribution
from tests.warm.python import COMMAND, warm_python

pytestmark = pytest.mark.train

METRIC = '''
"""Which share of the reference's letters the answer has."""

from collections import Counter

from adapterworks.builders.evaluation.metrics.metric import mean_metric


def _scores(predictions, rows):
    pairs = [(Counter(p.text), Counter(r.answer)) for p, r in zip(predictions, rows, strict=True)]
    return [(given & wanted).total() / max(wanted.total(), 1) for given, wanted in pairs]


LETTERS = mean_metric("letters", "Share of the letters that are there", _scores, binary=False)
'''
DATA_GATE = '''
"""Rows that ask for a case of a forbidden number."""

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Finding, offence


def check(rows, threshold, context):
    found = [
        offence("train", index, row, "a forbidden case")
        for index, row in enumerate(rows["train"])
        if "case 3?" in row.question
    ]
    return Finding(tuple(found), float(len(found)))


GATE = Gate("forbidden", "Cases that nobody may learn", check, action="drop")
'''
QUALITY_GATE = '''
"""Passes if the candidate's own value is there at all."""

from adapterworks.builders.evaluation.gates.gate import GateKind, GateOutcome


def judge(gate, comparison):
    value = comparison.value("candidate")
    return GateOutcome("quality", gate.metric, value >= gate.min_gain, f"the value is {value:.2f}")


GATE = GateKind("at_least", "The value reaches min_gain", judge)
'''
FORMAT = '''
"""`case-sheet`: a case with its code, and what it was coded from."""

from adapterworks.builders.data.formats.columns import FormatFault
from adapterworks.builders.data.formats.format import RowFormat
from adapterworks.builders.data.rows import chat


def read(columns):
    number = columns.get("case")
    if not isinstance(number, int):
        raise FormatFault("a case has a number")
    return chat(f"code of case {number}?", columns.text("code"))


FORMAT = RowFormat(
    name="case-sheet",
    description="a case's number and its code",
    columns=("case", "code"),
    gives="conversation",
    example={"case": 1, "code": "A1"},
    read=read,
)
'''
POINTS = {
    "formats": {"case-sheet": "acme_case_sheet:FORMAT"},
    "metrics": {"letters": "acme_letters:LETTERS"},
    "data_gates": {"forbidden": "acme_forbidden:GATE"},
    "quality_gates": {"at_least": "acme_at_least:GATE"},
}
FILES = {
    "acme_case_sheet.py": FORMAT,
    "acme_letters.py": METRIC,
    "acme_forbidden.py": DATA_GATE,
    "acme_at_least.py": QUALITY_GATE,
}
OWN = '''
from pathlib import Path

Path(__file__).with_name("mark").write_text("was run")


def first_letter(answer: str, reference: str) -> float:
    """The first letter is right."""
    return float(answer[:1] == reference[:1])


def odd(row):
    return "an odd case" if "case 5?" in row.question else None
'''
EXTRA = """
[data.gates.forbidden]
[data.gates."./own.py:odd"]
[[evaluate.gates]]
kind = "at_least"
metric = "letters"
min_gain = 0.0
"""


@dataclass
class Built:
    """The workshop after the build, and what the build printed."""

    workshop: Workshop
    site: Path
    manifest: str
    result: dict[str, Any]

    @property
    def registry(self) -> Registry:
        return self.workshop.registry()

    def read(self, path: str) -> Any:
        data = self.registry.read(self.result["digest"], path).decode()
        if path.endswith(".jsonl"):
            return [json.loads(line) for line in data.splitlines()]
        return data if path.endswith(".md") else json.loads(data)

    def run(self, *arguments: str, installed: bool = True) -> subprocess.CompletedProcess[str]:
        paths = [str(self.site)] * installed + [os.environ.get("PYTHONPATH", "")]
        return subprocess.run(
            [warm_python(), "-c", COMMAND, *arguments],
            env=os.environ
            | self.workshop.environment
            | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("extended")
    site = write_distribution(folder / "site", "acme-extras", "1.2", POINTS, FILES)
    workshop = Workshop(folder, make_tiny_base(folder / "base"))
    (folder / "own.py").write_text(OWN)
    text = Path(workshop.manifest(epochs=1)).read_text()
    metrics = '["exact_match", "letters", "./own.py:first_letter"]'
    manifest = folder / "extended.toml"
    text = text.replace('["exact_match"]', metrics)
    text = text.replace('test = "test.jsonl"', 'test = "test.jsonl"\nformat = "case-sheet"')
    manifest.write_text(text + EXTRA)
    for split, count, start in (("train", 24, 0), ("validation", 6, 100), ("test", 6, 200)):
        cases = [
            {"case": start + n, "code": f"A{(start + n) % 7}", "ward": n} for n in range(count)
        ]
        lines = "".join(json.dumps(case) + "\n" for case in cases)
        (folder / f"{split}.jsonl").write_text(lines)
    built = Built(workshop, site, str(manifest), {})
    done = built.run("build", str(manifest), "--json")
    assert done.returncode == 0, done.stderr
    built.result = json.loads(done.stdout)
    return built


def test_a_format_is_read_listed_recorded_and_on_the_card(built: Built) -> None:
    release = built.registry.release(built.result["digest"])
    assert release.declared("data")["format"] == "case-sheet"
    assert "| format | case-sheet | acme-extras 1.2 |" in built.read("README.md")
    lines = built.read("predictions.jsonl")
    assert lines[0]["prompt"] == [{"role": "user", "content": "code of case 200?"}]
    assert lines[0]["reference"] == "A4"
    listed = json.loads(built.run("formats", "--json").stdout)
    (entry,) = [entry for entry in listed if entry["name"] == "case-sheet"]
    assert (entry["from"], entry["columns"]) == ("acme-extras 1.2", ["case", "code"])
    rows = built.workshop.folder / "train.jsonl"
    good = rows.read_text()
    try:
        rows.write_text(good + '{"case": "x", "code": "A1"}\n')
        done = built.run("plan", built.manifest)
    finally:
        rows.write_text(good)
    assert done.returncode == 2
    assert "row 25: a case has a number" in done.stderr


def test_a_metric_is_in_report_record_and_card(built: Built) -> None:
    entry = built.read("report.json")["metrics"]["letters"]
    assert 0.0 <= entry["values"]["candidate"] <= 1.0
    release = built.registry.release(built.result["digest"])
    assert release.metrics["letters"] == entry["values"]["candidate"]
    assert "| letters |" in built.read("README.md")
    assert "| ./own.py:first_letter |" in built.read("README.md")


def test_data_gates_drop_and_report(built: Built) -> None:
    report = built.read("report.json")
    gates = {gate["name"]: gate for gate in report["data_gates"]}
    assert (gates["forbidden"]["rows"], gates["forbidden"]["action"]) == (1, "drop")
    assert gates["forbidden"]["first"] == [["train", 4]]
    assert (gates["./own.py:odd"]["rows"], gates["./own.py:odd"]["action"]) == (1, "warn")
    assert gates["secrets"]["action"] == "fail"  # as ever
    assert "`forbidden`" in built.read("README.md")


def test_a_quality_gate_decides(built: Built) -> None:
    (gate,) = built.read("report.json")["gates"]
    assert gate["passed"]
    assert gate["why"].startswith("the value is 0.")
    assert built.result["alias"] == "candidate"


def test_the_lock_pins_what_ran_and_no_folder(built: Built) -> None:
    pinned = built.read("adapter.lock")["extensions"]
    acme = {"distribution": "acme-extras", "version": "1.2"}
    own = {"file": "own.py", "digest": digest_bytes(OWN.encode())}
    assert pinned == [
        {"table": "data_gates", "name": "./own.py:odd", **own},
        {
            **{"table": "data_gates", "name": "forbidden", **acme},
            "digest": digest_bytes(DATA_GATE.encode()),
        },
        {
            **{"table": "formats", "name": "case-sheet", **acme},
            "digest": digest_bytes(FORMAT.encode()),
        },
        {"table": "metrics", "name": "./own.py:first_letter", **own},
        {
            **{"table": "metrics", "name": "letters", **acme},
            "digest": digest_bytes(METRIC.encode()),
        },
        {
            **{"table": "quality_gates", "name": "at_least", **acme},
            "digest": digest_bytes(QUALITY_GATE.encode()),
        },
    ]
    assert str(built.workshop.folder) not in json.dumps(pinned)


def test_a_release_runs_no_file_and_says_how(built: Built, tmp_path: Path) -> None:
    """The release names `./own.py`, which leaves a mark when it is run; it stands here too."""
    mark = built.workshop.folder / "mark"
    mark.unlink(missing_ok=True)
    evaluated = built.run("eval", "tiny@1")
    rebuilt = built.run("verify", "tiny@1", "--rebuild")
    for done in (evaluated, rebuilt):
        assert done.returncode == 6, done.stderr
        assert "is code in a file beside a manifest" in done.stderr
        assert "--manifest" in done.stderr
    assert not mark.exists()
    assert built.run("eval", "tiny@1", "--manifest", built.manifest).returncode == 0
    assert mark.exists()


def test_a_rebuild_runs_the_users_file_if_it_is_the_one_of_the_lock(
    built: Built, tmp_path: Path
) -> None:
    arguments = ("verify", "tiny@1", "--rebuild", "--manifest")
    done = built.run(*arguments, built.manifest, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rebuild"]["scores"]["./own.py:first_letter"]["difference"] == 0
    for name in ("own.py", "extended.toml"):
        shutil.copy(built.workshop.folder / name, tmp_path)
    (tmp_path / "own.py").write_text(OWN + "\n# another\n")
    done = built.run(*arguments, str(tmp_path / "extended.toml"))
    assert done.returncode == 2
    assert "`own.py` is not the file that `tiny@1` was built with" in done.stderr


def test_another_file_is_evaluated_again_and_trains_nothing(built: Built) -> None:
    path = built.workshop.folder / "own.py"
    same = json.loads(built.run("plan", built.manifest, "--json").stdout)
    assert same["digest"] == built.registry.release(built.result["digest"]).plan
    try:
        path.write_text(OWN.replace("answer[:1] == reference[:1]", "True"))
        done = built.run("build", built.manifest, "--json")
        assert done.returncode == 0, done.stderr
    finally:
        path.write_text(OWN)
    changed = built.registry.release(json.loads(done.stdout)["digest"])
    assert changed.metrics["./own.py:first_letter"] == 1.0
    before = same["digests"]
    moved = [stage for stage in before if before[stage] != changed.digests[stage]]
    assert moved == ["evaluate", "publish"]


def test_without_the_distribution_the_release_says_what_is_missing(built: Built) -> None:
    done = built.run("eval", "tiny@1", installed=False)
    assert done.returncode == 2
    assert "the manifest of `tiny@1` cannot be used here: data.format" in done.stderr
    assert "adapter.lock" in done.stderr
