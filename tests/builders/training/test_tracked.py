"""What trackers are told: the numbers of steps and evaluations, by the process that speaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.training import trackers
from adapterworks.builders.training.trackers import Trackers, check_trackers, make_trackers
from adapterworks.builders.training.trackers.tracker import (
    Label,
    Tracker,
    by_accelerate,
    of_accelerate,
)
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.manifests.train_table import TrainTable


class Run:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.heard.append((values, step))

    def finish(self) -> None:
        self.heard.append("finished")


STEP = {
    "step": 3, "steps": 9, "loss": 0.5, "learning_rate": 1e-3, "gradient_norm": 2.0,
    "tokens_per_second": 70.0, "seconds_left": 1.0, "tokens": 12,
}  # fmt: skip


def test_every_run_hears_the_numbers_of_a_step_and_an_evaluation_under_their_names() -> None:
    runs = [Run(), Run()]
    told = Trackers([("one", runs[0]), ("other", runs[1])])
    told.log("step", STEP)
    told.log("validation", {"step": 4, "loss": 0.25, "best": True})
    told.log("validation", {"step": 6, "loss": None, "best": True})
    told.log("validation", {"step": 8, "loss": None, "reward": 0.75})
    told.log("checkpoint", {"step": 4, "loss": 1.0})
    told.log("trained", {"steps": 9, "loss": 1.0})
    told.close()
    for run in runs:
        assert run.heard == [
            (
                {
                    "step/loss": 0.5,
                    "step/learning_rate": 1e-3,
                    "step/gradient_norm": 2.0,
                    "step/tokens_per_second": 70.0,
                },
                3,
            ),
            ({"validation/loss": 0.25}, 4),
            ({"validation/reward": 0.75}, 8),
            "finished",
        ]


def test_what_an_objective_tells_is_told() -> None:
    """Rewards, divergence, margins: what an alignment is watched by, and not its loss."""
    run = Run()
    told = Trackers([("one", run)])
    told.log("step", {**STEP, "reward": 0.25, "kl": 0.0, "clip_share": 0.5, "note": "x"})
    told.log("validation", {"step": 4, "loss": None, "reward": 0.75, "best": False})
    (step, _), validation = run.heard
    assert step.keys() - {f"step/{name}" for name in STEP} == {
        "step/reward", "step/kl", "step/clip_share",
    }  # fmt: skip
    assert (step["step/reward"], step["step/kl"]) == (0.25, 0.0)
    assert validation == ({"validation/reward": 0.75}, 4)


def test_a_loss_of_zero_is_a_number() -> None:
    run = Run()
    Trackers([("one", run)]).log("validation", {"step": 4, "loss": 0.0})
    assert run.heard == [({"validation/loss": 0.0}, 4)]


@pytest.mark.parametrize(("rank", "started"), [(None, 2), ("0", 2), ("1", 0)])
def test_runs_are_called_after_the_adapter_and_write_beside_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rank: str | None, started: int
) -> None:
    given: list[Any] = []

    def start(run: str, folder: Path) -> Run:
        given.append((run, folder))
        return Run()

    table = SimpleNamespace(named=lambda name: Tracker(name, "", "json", start))
    monkeypatch.setattr(trackers, "TRACKERS", table)
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    adapter = SimpleNamespace(name="medical")
    train = SimpleNamespace(trackers=("one", "other"), tracking=())
    plan: Any = SimpleNamespace(manifest=SimpleNamespace(adapter=adapter, train=train))
    made = make_trackers(plan, tmp_path / "build" / "train")
    assert given == [("medical", tmp_path / "build" / "trackers")] * started
    assert len(made._started) == started


def train(*trackers: str, **tracking: Any) -> TrainTable:
    values = {"trackers": trackers, **({"tracking": [tracking]} if tracking else {})}
    return TrainTable.model_validate_json(json.dumps(values))


def test_a_tracker_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(train())
    monkeypatch.setattr(trackers, "find_spec", lambda package: None if package == "wandb" else 1)
    check_trackers(train("tensorboard"))
    for missing in (train("tensorboard", "wandb"), train(tracker="wandb", project="p")):
        with pytest.raises(InvalidInput, match="`wandb`, which is not installed") as caught:
            check_trackers(missing)
        assert "`pip install wandb`" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (train(tracker="tensorboard", project="p"), "no names to choose"),
        (train(tracker="mlflow", project="p", entity="team"), "`mlflow` knows none"),
        (train("wandb", tracker="wandb", project="p"), "is named twice"),
    ],
)
def test_names_that_a_tracker_cannot_have_are_refused(
    table: TrainTable, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda package: 1)
    with pytest.raises(InvalidInput, match=words):
        check_trackers(table)


def planned(table: TrainTable) -> Any:
    adapter = SimpleNamespace(name="medical")
    return SimpleNamespace(manifest=SimpleNamespace(adapter=adapter, train=table))


def test_a_run_has_the_names_that_were_chosen_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Any] = []

    def begin(label: Label, folder: Path) -> Run:
        given.append((label, folder))
        return Run()

    def start(run: str, folder: Path) -> Run:
        raise AssertionError("it was not called after the adapter")

    table = SimpleNamespace(named=lambda name: Tracker(name, "", "json", start, begin, True))
    monkeypatch.setattr(trackers, "TRACKERS", table)
    asked = {"tracker": "wandb", "project": "icd", "entity": "team", "tags": ["a"]}
    make_trackers(planned(train(**asked, run="first")), tmp_path / "train")
    make_trackers(planned(train(**asked)), tmp_path / "train")
    assert given == [
        (Label("icd", run, "team", ("a",)), tmp_path / "trackers") for run in ("first", "medical")
    ]


def test_one_that_does_not_begin_stops_the_training_before_its_first_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def begin(label: Label, folder: Path) -> Run:
        raise ConnectionError("no route to host\nand forty lines more")

    table = SimpleNamespace(named=lambda name: Tracker(name, "", "json", Lost, begin))
    monkeypatch.setattr(trackers, "TRACKERS", table)
    with pytest.raises(Unavailable) as caught:
        make_trackers(planned(train(tracker="mlflow", project="icd")), tmp_path / "train")
    assert caught.value.message == "the tracker `mlflow` does not begin: no route to host"


class Lost(Run):
    def __init__(self, *_: object) -> None:
        super().__init__()

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        super().log(values, step)
        if step == 2:
            raise ConnectionError("the server is gone")


def test_one_that_fails_later_is_told_no_more_and_the_others_go_on() -> None:
    lost, whole, said = Lost(), Run(), list[Any]()
    told = Trackers([("lost", lost), ("whole", whole)])
    told.lost = lambda name, why: said.append((name, why))
    for step in (1, 2, 3):
        told.log("step", {**STEP, "step": step})
    told.close()
    assert [step for _, step in lost.heard] == [1, 2]
    assert [entry[1] for entry in whole.heard[:-1]] == [1, 2, 3]
    assert whole.heard[-1] == "finished"
    assert said == [("lost", "the server is gone")]


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("starts", [True, False])
def test_a_run_is_that_of_accelerates_integration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: bool, starts: bool
) -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    class Integration(Run):
        requires_logging_directory = folder

        def __init__(self, *arguments: str) -> None:
            super().__init__()
            self.arguments = arguments

        if starts:

            def start(self) -> None:
                self.heard.append("started")

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "mlflow", Integration)
    run: Any = by_accelerate("mlflow", "medical", tmp_path)
    assert run.arguments == (("medical", str(tmp_path)) if folder else ("medical",))
    assert run.heard == (["started"] if starts else [])
    tracker = of_accelerate("mlflow", "a server")
    assert (tracker.name, tracker.package, tracker.description) == ("mlflow", "mlflow", "a server")
    assert isinstance(tracker.start("medical", tmp_path), Integration)
