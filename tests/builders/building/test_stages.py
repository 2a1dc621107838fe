"""Several trainings in one build: each a release, resumed where the chain broke off, gated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from adapterworks.builders.engines.huggingface import HuggingFace
from adapterworks.builders.rebuilding.rebuild import rebuild
from adapterworks.cli.evaluate import command as evaluate
from adapterworks.registry.bases.store import BaseStore
from tests.builders.building.test_origins import pairs
from tests.builders.workshop import Workshop

STAGES = """
[[stages]]
name = "sft"
[[stages.evaluate.gates]]
metric = "exact_match"
min_gain = {least}
[[stages]]
name = "pairs"
objective = {{ kind = "dpo" }}
[stages.data]
format = "preference"
train = "pairs-train.jsonl"
validation = "pairs-validation.jsonl"
test = "pairs-test.jsonl"
[stages.evaluate]
metrics = ["preference_margin"]
[stages.train]
epochs = 1
learning_rate = 1e-3
"""


def nobody(*given: Any, **more: Any) -> NoReturn:
    raise AssertionError("an engine is opened for what was answered before")


def staged(workshop: Workshop, least: float = -1.0) -> str:
    pairs(workshop)
    return workshop.manifest(epochs=2, more=STAGES.format(least=least))


@pytest.mark.train
def test_each_stage_is_a_release_that_the_next_begins_with(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = staged(workshop)
    built = workshop.json(path)
    registry = workshop.registry()
    assert (built["before"]["ref"], built["ref"]) == ("tiny@1", "tiny@2")
    first, second = (registry.release(registry.resolve(f"tiny@{n}").digest) for n in (1, 2))
    assert [
        one.stage and (one.stage.name, one.stage.index, one.stage.count) for one in (first, second)
    ] == [
        ("sft", 0, 2),
        ("pairs", 1, 2),
    ]
    assert [one.provenance.objective for one in (first, second)] == ["sft", "dpo"]
    assert first.parents == ()
    (parent,) = second.parents
    assert (parent.relation, parent.digest) == ("stage", built["before"]["digest"])
    assert built["report"]["training"]["beginning"]["max_difference"] <= 1e-5
    aliases = {row.version: row.aliases for row in registry.versions("tiny")}
    assert aliases == {1: ("sft",), 2: ("candidate",)}
    # Unchanged, nothing is built; changed in the last stage alone, the first one stays.
    assert [workshop.json(path)[key] for key in ("ref", "created")] == ["tiny@2", False]
    again = workshop.json(path, "--set", "stages.pairs.train.learning_rate=2e-3")
    assert (again["before"]["ref"], again["before"]["created"]) == ("tiny@1", False)
    assert again["ref"] == "tiny@3"
    result = rebuild(
        "tiny@2",
        registry=registry,
        bases=BaseStore(workshop.home / "bases"),
        home=workshop.home,
    )
    assert result.weights.bit_equal
    # What it answered before it was a release, it is not asked again.
    monkeypatch.setattr(HuggingFace, "open", nobody)
    told = workshop.invoke(evaluate, "tiny@1")
    assert told.exit_code == 0, told.output or told.exception


@pytest.mark.train
def test_a_stage_that_does_not_pass_is_the_last(workshop: Workshop) -> None:
    """Its release is there to be looked at; the next one is not begun, nor resumed."""
    path = staged(workshop, least=0.99)
    failed = workshop.build(path)
    assert failed.exit_code != 0
    said = str(failed.exception)
    assert "stage `sft` (tiny@1) did not pass, so the next one is not begun" in said
    assert [row.aliases for row in workshop.registry().versions("tiny")] == [()]
    assert "stage `sft` (tiny@1) did not pass" in str(workshop.build(path).exception)


@pytest.mark.slow
@pytest.mark.train
def test_a_chain_that_broke_off_goes_on(workshop: Workshop) -> None:
    """The first stage done, the second never begun or half done: `--resume` does the rest."""
    path = staged(workshop)
    alone = Path(path).read_text()
    alone = alone[: alone.index('[[stages]]\nname = "pairs"')].replace(
        '[[stages]]\nname = "sft"', ""
    )
    alone = alone.replace("[[stages.evaluate", "[[evaluate")
    (workshop.folder / "alone.toml").write_text(alone + '[publish]\nalias = "sft"\n')
    first = workshop.json(str(workshop.folder / "alone.toml"))
    built = workshop.json(path, "--resume")
    assert (built["before"]["digest"], built["before"]["created"]) == (first["digest"], False)
    assert built["ref"] == "tiny@2"
    assert workshop.registry().release(built["digest"]).parents[0].digest == first["digest"]
