"""Trackers by name: real records of a real build, and a clear refusal where one is missing."""

from __future__ import annotations

import getpass
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adapterworks.builders.training import trackers
from adapterworks.builders.training.trackers.tracker import Label
from adapterworks.cli.plan import command as plan
from adapterworks.manifests.errors import InvalidInput
from tests.builders.workshop import Workshop

pytestmark = pytest.mark.train


def test_tensorboard_has_every_step_after_the_build(workshop: Workshop) -> None:
    built = workshop.json(workshop.manifest(epochs=2), "--set", 'train.trackers=["tensorboard"]')
    (folder,) = (workshop.home / "builds").glob("*/trackers/tiny")
    records = EventAccumulator(str(folder))
    records.Reload()
    losses = records.Scalars("step/loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[-1].value == pytest.approx(built["report"]["training"]["train_loss"], abs=1e-4)
    assert records.Scalars("validation/loss")
    assert records.Scalars("step/learning_rate")


@pytest.mark.parametrize("name", ["mlflow", "trackio", "wandb"])
def test_a_missing_tracker_is_said_before_anything_is_done(
    workshop: Workshop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    setting = f'train.trackers=["{name}"]'
    arguments = [workshop.manifest(), "--set", setting]
    for result in (
        CliRunner().invoke(plan, arguments, obj=workshop.app),
        workshop.build(*arguments),
    ):
        assert isinstance(result.exception, InvalidInput)
        assert f"`{name}`, which is not installed" in result.exception.message
        assert f"`pip install {name}`" in str(result.exception.hint)
    assert not (workshop.home / "bases").exists()
    assert not (workshop.home / "builds").exists()


NAMES = 'train.tracking=[{tracker="%s", project="icd", run="first", tags=["a", "b"]}]'


def test_wandb_is_sent_numbers_and_nothing_of_the_machine(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    workshop.json(workshop.manifest(epochs=2), "--set", NAMES % "wandb")
    (kept,) = (workshop.home / "builds").glob("*/trackers/wandb/offline-run-*/run-*.wandb")
    sent = kept.read_bytes()
    for told in (b"icd", b"first", b"step/loss", b"validation/loss", b"step/learning_rate"):
        assert told in sent
    private = (socket.gethostname(), str(workshop.home), str(workshop.folder), sys.executable)
    for secret in (*private, "job.py", "torch==", "adapterworks", getpass.getuser()):
        assert len(secret) < 3 or secret.encode() not in sent, secret
    files = {path.name for path in kept.parent.rglob("*") if path.is_file()}
    assert not {name for name in files if name.startswith(("requirements", "wandb-metadata"))}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's own
def test_mlflow_is_sent_numbers_under_the_names_that_were_chosen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    built = workshop.json(workshop.manifest(epochs=2), "--set", NAMES % "mlflow")
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("icd")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.tags == {"mlflow.runName": "first", "a": "true", "b": "true"}
    history = client.get_metric_history(run.info.run_id, "step/loss")
    assert [metric.step for metric in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].value == pytest.approx(built["report"]["training"]["train_loss"], abs=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's own
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_training_that_is_resumed_is_the_same_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    begin = trackers.TRACKERS.named(name).begin
    assert begin is not None
    ids = set()
    for step in (1, 2):
        run = begin(Label("icd", "first"), tmp_path / "trackers")
        run.log({"step/loss": 0.5}, step=step)
        run.finish()
        ids.add((tmp_path / "trackers" / f"{name}.run").read_text())
    assert len(ids) == 1
    if name == "wandb":
        found = (tmp_path / "trackers" / "wandb").glob(f"offline-run-*-{ids.pop()}")
        assert len([*found]) in (1, 2)  # two of the same second are one folder
