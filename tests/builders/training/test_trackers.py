"""Trackers by name: real records of a real build, and a clear refusal where one is missing."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adapterworks.builders.training import trackers
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
