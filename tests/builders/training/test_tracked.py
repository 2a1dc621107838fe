"""What trackers are told: the numbers of steps and evaluations, by the process that speaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.training import trackers
from adapterworks.builders.training.trackers import Trackers, check_trackers, make_trackers
from adapterworks.builders.training.trackers.tracker import Tracker, by_accelerate, of_accelerate
from adapterworks.manifests.errors import InvalidInput


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
    told = Trackers(runs)
    told.log("step", STEP)
    told.log("validation", {"step": 4, "loss": 0.25, "best": True})
    told.log("validation", {"step": 6, "loss": None, "best": True})
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
            ({}, 6),
            "finished",
        ]


def test_a_loss_of_zero_is_a_number() -> None:
    run = Run()
    Trackers([run]).log("validation", {"step": 4, "loss": 0.0})
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
    train = SimpleNamespace(trackers=("one", "other"))
    plan: Any = SimpleNamespace(manifest=SimpleNamespace(adapter=adapter, train=train))
    made = make_trackers(plan, tmp_path / "build" / "train")
    assert given == [("medical", tmp_path / "build" / "trackers")] * started
    assert len(made._started) == started


def test_a_tracker_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers([])
    monkeypatch.setattr(trackers, "find_spec", lambda package: None if package == "wandb" else 1)
    check_trackers(["tensorboard"])
    with pytest.raises(InvalidInput, match="`wandb`, which is not installed") as caught:
        check_trackers(["tensorboard", "wandb"])
    assert "`pip install wandb`" in str(caught.value.hint)


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
