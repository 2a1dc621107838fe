"""docs/reference/extensions.md: what it shows is installed as it says and does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.distribution import write_distribution
from tests.warm.python import warm_python

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "extensions.md").read_text(encoding="utf-8")
_TITLED = re.compile(r'^```(?:python|toml) title="(\S+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FILES = dict(_TITLED.findall(PAGE))
COMMANDS = {
    "metrics": "metrics",
    "data_gates": "gates",
    "quality_gates": "gates",
    "formats": "formats",
    "objectives": "objectives",
    "recipes": "recipes",
    "retention_suites": "suites",
    "trackers": "trackers",
    "merge_rules": "merge-rules",
    "exports": "exports",
    "optimizers": "optimizers",
    "schedules": "schedules",
}
PROJECT = tomllib.loads(FILES["pyproject.toml"])["project"]
POINTS = {
    group.removeprefix("adapterworks."): entries
    for group, entries in PROJECT["entry-points"].items()
}
USES = """
import json, sys, tempfile
from pathlib import Path
from adapterworks.builders.data.formats.format import to_rows
from adapterworks.builders.data.gates.report import Context
from adapterworks.builders.data.recipes import load_recipe
from adapterworks.builders.data.rows import chat
from adapterworks.builders.data.sources import Record
from adapterworks.builders.evaluation.evaluate import evaluate
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.training.trackers import TRACKERS, check_trackers
from adapterworks.manifests.extensions import load
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.manifests.train_table import TrainTable

manifest = load_manifest("manifest.toml")
rows = load_recipe("sums:test")[0]
names = ("letters", manifest.evaluate.metrics[1])
table = EvaluateTable(
    metrics=names, gates=(QualityGate(kind="at_least", metric="letters", min_gain=0.5),)
)
given = {"candidate": [Prediction(r.answer) for r in rows], "base": [Prediction("x")] * len(rows)}
evaluation = evaluate(rows, given, table)
shouts = {"train": [chat("LISTEN TO ME", "no"), chat("hello", "yes")]}
finding = load("data_gates", "shouting").check(shouts, 0.8, Context())
begs = load("data_gates", next(n for n, _ in manifest.data.gates.items() if "begs" in n))
asked = Record(1, {"question": "1?", "answer": "2"})
(answered,) = to_rows([asked], "question-answer", source="a.jsonl")
check_trackers(TrainTable(trackers=("print",)))
folder = Path(tempfile.mkdtemp())
run = TRACKERS.named("print").start("run", folder)
run.log({"loss": 1.0}, step=3)
run.finish()
half = load("exports", "peft-half")
import torch
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.optimizers.optimizer import Group
weight = torch.nn.Parameter(torch.ones(2))
weight.grad = torch.tensor([1.0, -2.0])
signs = OPTIMIZERS["signs"].make([Group([weight], ["w"], 2.0)], 0.25, 0.0)
for group in signs.param_groups:  # as the trainer does
    group["lr"] = 0.25 * group["times"]
signs.step()
stepped = weight.detach()
from adapterworks.builders.objectives.scores import Scores
merged = load("merge_rules", "loudest").merge(
    [torch.tensor([1.0, -3.0]), torch.tensor([2.0, 2.0])], torch.tensor([1.0, 1.0]), None
)
json.dump(
    {
        "values": evaluation.values(),
        "slices": list(evaluation.report["slices"]),
        "why": [gate.why for gate in evaluation.gates],
        "shouting": [found.reason for found in finding.offences],
        "begs": len(begs.check({"train": [chat("Please!", "no")]}, 0.0, Context()).offences),
        "action": {n: g.action for n, g in manifest.data.gates.items() if "begs" in n},
        "answer": answered.answer,
        "tracked": (folder / "run.txt").read_text(),
        "merged": merged.tolist(),
        "export": [half.name, *half.types],
        "stepped": stepped.tolist(),
        "falls": [load("schedules", "staircase").fall(at, 0.2) for at in (0.0, 0.5, 1.0)],
    },
    sys.stdout,
)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {name: text for name, text in FILES.items() if name.startswith("acme_")}
    folder = tmp_path_factory.mktemp("site")
    return write_distribution(folder, PROJECT["name"], PROJECT["version"], POINTS, files)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in ("manifest.toml", "my_metrics.py"):
        (folder / name).write_text(FILES[name])
    return folder


def python(site: Path, project: Path, *arguments: str) -> str:
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [warm_python(), *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def adapters(site: Path, project: Path, *arguments: str) -> str:
    code = "from adapterworks.cli.main import main; main()"
    return python(site, project, "-c", code, *arguments)


def test_every_table_is_shown() -> None:
    assert set(POINTS) == set(COMMANDS)
    modules = {at.partition(":")[0] + ".py" for group in POINTS.values() for at in group.values()}
    assert modules == {name for name in FILES if name.startswith("acme_")}


@pytest.mark.parametrize("kind", COMMANDS)
def test_what_is_installed_is_listed_with_its_distribution(
    kind: str, site: Path, project: Path
) -> None:
    listed = json.loads(adapters(site, project, COMMANDS[kind], "--json"))
    (name,) = POINTS[kind]
    (entry,) = [line for line in listed if line["name"] == name and line["table"] == kind]
    assert entry["from"] == "acme-extras 1.2"
    assert "error" not in entry, entry
    assert entry["description"]


def test_the_file_beside_the_manifest_is_imported_and_listed(site: Path, project: Path) -> None:
    said = adapters(site, project, "validate", "manifest.toml").splitlines()
    assert said == ["manifest.toml: imports ./my_metrics.py", "manifest.toml: ok"]
    listed = adapters(site, project, "metrics", "--manifest", "manifest.toml")
    (line,) = [line for line in listed.splitlines() if "f1_of_codes" in line]
    assert line.split()[:2] == ["./my_metrics.py:f1_of_codes", "my_metrics.py"]
    assert line.endswith("F1 of the codes in the answer and in the reference.")


def test_each_does_what_it_says(site: Path, project: Path) -> None:
    done: dict[str, Any] = json.loads(python(site, project, "-c", USES))
    assert done["values"] == {"letters": 1.0, "./my_metrics.py:f1_of_codes": 1.0}
    assert done["slices"] == ["carries"]
    assert done["why"] == ["letters is at least 0.987, asked for more than 0.500"]
    assert done["shouting"] == ["100% capitals"]
    assert (done["begs"], done["action"]) == (1, {"./my_metrics.py:begs": "drop"})
    assert done["answer"] == "2"
    assert done["tracked"] == "3 {'loss': 1.0}\n"
    assert done["merged"] == [2.0, -3.0]
    assert done["export"] == ["peft-half", "f16"]
    assert done["stepped"] == [0.5, 1.5]  # 1 ∓ 0.25 × 2
    assert done["falls"] == [1.0, 0.5, 0.0]
