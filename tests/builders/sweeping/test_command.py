"""`adapters sweep` with real trainings of a tiny base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterworks.cli.sweep import command as sweep
from adapterworks.manifests.errors import InvalidInput, Refused
from tests.builders.workshop import Workshop

GATE = '[[evaluate.gates]]\nmetric = "exact_match"\nmin_gain = -0.9\n'
OVER = ("--over", "train.learning_rate=1e-6,0.01,0.02")


@pytest.mark.train
def test_the_best_of_what_was_tried_is_found_and_named(workshop: Workshop) -> None:
    path = workshop.manifest(epochs=1, more=GATE)
    arguments = (path, *OVER, "--trials", "3", "--no-halving", "--json")
    result = workshop.invoke(sweep, *arguments)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    trials = said["trials"]
    assert [one["state"] for one in trials] == ["built"] * 3
    assert sorted(one["ref"] for one in trials) == [f"tiny-sweep@{n}" for n in (1, 2, 3)]
    assert len({one["settings"]["train.learning_rate"] for one in trials}) == 3
    registry = workshop.registry()
    assert said["best"]["passed"]
    best = registry.resolve("tiny-sweep:best")
    assert f"tiny-sweep@{best.version}" == said["best"]["ref"]
    declared = registry.release(best.digest).declared("evaluate")
    assert declared["gates"][0]["confidence"] == pytest.approx(1 - 0.05 / 3)
    assert said["best"]["score"] == max(one["score"] for one in trials if one["passed"])
    # Nothing is built again; what won is a build under its own name away, and is not trained again.
    assert json.loads(workshop.invoke(sweep, *arguments).stdout) == said
    study = {*(workshop.home / "sweeps").glob("*.db")}
    made = workshop.json(
        path, "--set", f"train.learning_rate={said['best']['settings']['train.learning_rate']}"
    )
    assert made["reused"]["train"] == said["best"]["ref"]
    # With a row corrected nothing that was found holds: another sweep begins.
    rows = workshop.folder / "validation.jsonl"
    rows.write_text(rows.read_text().replace("case 100", "case 99"))
    workshop.invoke(sweep, *arguments)
    assert len({*(workshop.home / "sweeps").glob("*.db")} - study) == 1


@pytest.mark.slow
@pytest.mark.train
def test_a_trial_that_falls_behind_is_ended_and_leaves_nothing(workshop: Workshop) -> None:
    path = workshop.manifest(
        epochs=4, more="[[evaluate.gates]]\nmetric='exact_match'\nmin_gain=9\n"
    )
    space = ("--over", "train.learning_rate=1e-9..2e-2", "--trials", "6")
    result = workshop.invoke(sweep, path, *space)
    assert isinstance(result.exception, Refused)
    assert "no trial passed its gates" in result.exception.message
    assert "pruned" in result.stdout
    built = workshop.registry().names()[0]
    folders = list((workshop.home / "builds").glob("tiny-sweep-*"))
    assert len(folders) == built.latest < 6


def test_what_makes_no_sense_is_refused(workshop: Workshop) -> None:
    path = workshop.manifest()
    for arguments, message in (
        ((), "nothing is to be varied"),
        ((*OVER, "--trials", "4"), "there are 3 different settings"),
        (("--over", "method.rnak=1,2,3"), "rnak"),  # without --trials: all three
        ((*OVER, "--trials", "2", "--parallel", "2"), "is of trials elsewhere"),
    ):
        result = workshop.invoke(sweep, path, *arguments)
        assert isinstance(result.exception, InvalidInput), result.output
        assert message in result.exception.message


@pytest.mark.slow
@pytest.mark.train
def test_trials_are_built_elsewhere_at_once(workshop: Workshop, tmp_path: Path) -> None:
    path = workshop.manifest(epochs=1, more=GATE)
    result = workshop.invoke(
        sweep, path, *OVER, "--trials", "2", "--on", "local", "--parallel", "2", "--json"
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert sorted(one["ref"] for one in said["trials"]) == ["tiny-sweep@1", "tiny-sweep@2"]
    assert said["best"]["ref"] in {"tiny-sweep@1", "tiny-sweep@2"}
