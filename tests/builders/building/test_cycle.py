"""The whole cycle by commands on real messages: build, look at what was wrong, learn that, promote.

    pytest -m slow tests/builders/building/test_cycle.py -s

The base has two of its thirty layers, so that both trainings take minutes; messages, metric, gates
and statistics are those of `bank-tickets`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.build import command as build
from adapterworks.cli.data import command as data
from adapterworks.cli.lineage import command as lineage
from adapterworks.cli.promote import command as promote
from adapterworks.registry.datasets.store import Datasets
from adapterworks.settings import Settings
from tests.small_base import MODEL, SMALL_BASES, SmallBases
from tests.warm.python import warm

FIRST = f"""
[adapter]
name = "tickets"
language = ["zh"]
[base]
model = "{MODEL}"
[method]
kind = "lora"
rank = 16
alpha = 32
[data]
train = "bank-tickets:train"
validation = "bank-tickets:validation"
test = "bank-tickets:test"
limit = 240
limit_validation = 24
limit_test = 120
[train]
epochs = 6
learning_rate = 2e-3
batch_size = 8
max_length = 160
[evaluate]
metrics = ["exact_match"]
max_new_tokens = 16
[[evaluate.gates]]
metric = "exact_match"
min_gain = 0.05
"""


@pytest.mark.slow
@pytest.mark.train
def test_the_cycle(tmp_path: Path) -> None:
    SmallBases().ensure(MODEL)
    environment = {
        "ADAPTERS_HOME": str(tmp_path / "home"),
        "ADAPTERS_BASES": str(SMALL_BASES),
        "ADAPTERS_USER": "tester",
    }
    app = App(Settings.from_environment(environment))

    def say(command: Command, *arguments: str) -> str:
        with warm():
            done = CliRunner().invoke(command, arguments, obj=app)
        assert done.exit_code == 0, done.output or done.exception
        return done.stdout

    first = tmp_path / "tickets.toml"
    first.write_text(FIRST)
    say(build, str(first), "--alias", "prod")
    shown = say(data, "from-failures", "tickets@1", "--share", "1", "--each", "3")
    print(shown)
    hard = Datasets(app.registry).get("tickets-failures")

    second = tmp_path / "continued.toml"
    text = FIRST.replace('"bank-tickets:train"', f'"{hard.ref}"').replace("limit = 240\n", "")
    text = text.replace("epochs = 6", "epochs = 4").replace(
        "[[evaluate.gates]]",
        "retention = { ancestors = true, max_ancestor_loss = 0.05 }\n[[evaluate.gates]]",
    )
    more = '[start]\nfrom = "tickets@1"\n[data.replay]\nsource = "lineage"\nshare = 1.0\n'
    second.write_text(text + more)
    say(build, str(second))
    reports = [
        json.loads(app.registry.read(app.registry.resolve(f"tickets@{n}").digest, "report.json"))
        for n in (1, 2)
    ]
    print(json.dumps([report["metrics"]["exact_match"] for report in reports], indent=1))
    print(json.dumps(reports[1]["ancestors"], indent=1))
    assert reports[1]["passed"], reports[1]["gates"]
    (entry,) = reports[1]["ancestors"]
    assert entry["rows"] == 120
    assert entry["change"] > -0.05
    # More of what it got wrong, and the rest again: better than before on the same rows.
    assert entry["change"] > 0.0
    say(promote, "tickets@2", "prod", "--why", "the failures were learnt")
    graph = say(lineage, "tickets")
    print(graph)
    for line in ("dataset:tickets-failures@1", "tickets@1 sha256:"):
        assert line in graph
