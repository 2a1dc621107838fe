"""Checkpoints: a training that goes on from one ends as one that never stopped, dropout and all."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adapterworks.builders.methods.lora import LORA
from adapterworks.builders.training.checkpoint import Checkpoints, Progress
from tests.builders.training.by_hand import Processes


class Remembering(type(LORA)):  # type: ignore[misc]
    """A method with state of its own: a running mean, and a list."""

    def __init__(self) -> None:
        self.mean = torch.zeros(2)
        self.pruned: list[int] = []
        self.given: list[dict[str, torch.Tensor]] = []

    def state(self, model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return {"mean": self.mean}, {"pruned": self.pruned}

    def restore(
        self, model: nn.Module, tensors: dict[str, torch.Tensor], values: dict[str, Any]
    ) -> None:
        self.given.append(tensors)
        self.mean = tensors.get("mean", self.mean)
        self.pruned = values["pruned"]


class Training:
    """A model with dropout, AdamW over what is not frozen, and checkpoints."""

    def __init__(self, folder: Path, seed: int = 0, **processes: Any) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.model[0].requires_grad_(False)
        self.model[0].weight.data.fill_(0.5)
        self.model[0].bias.data.fill_(0.1)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=0.05, weight_decay=0.1)
        self.technique, self.progress = Remembering(), Progress()
        self.processes = Processes(**processes)
        self.checkpoints = Checkpoints(
            folder,
            self.model,
            SimpleNamespace(optimizer=self.optimizer),
            self.technique,
            self.processes,
        )

    def train(self, until: int) -> None:
        while self.progress.step < until:
            inputs = torch.arange(12.0).reshape(4, 3) / (1 + self.progress.step)
            loss = (self.model(inputs) - 1).square().sum()
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.technique.mean = 0.9 * self.technique.mean + loss.detach() * torch.ones(2)
            self.technique.pruned = [*self.technique.pruned, self.progress.step]
            self.progress.step += 1

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.model[2].parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_resumed_training_with_dropout_ends_with_the_weights_of_one_that_did_not_stop(
    tmp_path: Path,
) -> None:
    """Weights, moments, the step counter, random numbers, and what the method remembers."""
    whole = Training(tmp_path / "whole")
    whole.train(3)
    whole.train(8)
    stopped = Training(tmp_path / "part")
    stopped.train(3)
    stopped.checkpoints.save(stopped.progress)
    stopped.train(5)  # lost
    resumed = Training(tmp_path / "part", seed=7)
    torch.rand(13)
    progress = resumed.checkpoints.restore()
    assert progress is not None
    assert progress.step == 3
    resumed.progress = progress
    resumed.train(8)
    assert same(resumed.weights(), whole.weights())
    assert torch.equal(resumed.technique.mean, whole.technique.mean)
    assert resumed.technique.pruned == whole.technique.pruned == [*range(8)]


def test_dropout_would_tell_random_numbers_that_did_not_come_back(tmp_path: Path) -> None:
    """The test above depends on them: from other ones other weights come."""
    one, other = Training(tmp_path), Training(tmp_path)
    one.train(3)
    torch.manual_seed(1)
    other.train(3)
    assert not same(one.weights(), other.weights())


def test_all_of_the_progress_comes_back(tmp_path: Path) -> None:
    training = Training(tmp_path)
    progress = Progress(
        step=4, best_step=2, best_value=1.25, worse=1, tokens=77, seconds=1.5, loss=2.5,
        first_losses=[3.0, 2.0], smoothed=2.75, stopped_early=True,
    )  # fmt: skip
    training.checkpoints.save(progress)
    assert training.checkpoints.restore() == progress
    assert asdict(Progress())["best_value"] is None
    assert Progress().step == Progress().best_step == Progress().worse == Progress().tokens == 0
    assert Progress().seconds == 0.0
    assert not Progress().stopped_early


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert Training(tmp_path).checkpoints.restore() is None


def test_the_loss_scaler_comes_back(tmp_path: Path) -> None:
    """fp16's: its scale, and how many steps in a row had no overflow."""
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=100)
    training = Training(tmp_path, scaler=scaler)
    for _ in range(3):
        scaler.scale(training.model(torch.ones(1, 3)).sum()).backward()
        scaler.step(training.optimizer)
        scaler.update()
        training.optimizer.zero_grad()
    assert scaler.state_dict()["_growth_tracker"] == 3
    training.checkpoints.save(Progress(step=3))
    fresh = torch.amp.GradScaler("cpu")
    assert fresh.get_scale() != 512.0
    Training(tmp_path, scaler=fresh).checkpoints.restore()
    assert fresh.get_scale() == 512.0
    assert fresh.state_dict()["_growth_tracker"] == 3
    # One without a scaler takes it, too, and the other way round.
    without = Training(tmp_path)
    progress = without.checkpoints.restore()
    assert progress is not None
    assert progress.step == 3
    without.checkpoints.save(Progress(step=4))
    kept = torch.amp.GradScaler("cpu", init_scale=64.0)
    Training(tmp_path, scaler=kept).checkpoints.restore()
    assert kept.get_scale() == 64.0


def test_only_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    training = Training(tmp_path)
    for step, best in ((2, 2), (4, 4), (6, 4), (8, 4)):
        progress = Progress(step=step, best_step=best)
        if step == best:
            training.checkpoints.save_best(progress)
        training.checkpoints.save(progress)
        found = sorted(path.name for path in tmp_path.iterdir())
        assert found == [f"best-{best:08d}", f"step-{step:08d}"]
    files = sorted(path.name for path in (tmp_path / "step-00000008").iterdir())
    assert files == [
        "method.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json",
        "weights.safetensors",
    ]  # fmt: skip
    best = sorted(path.name for path in (tmp_path / "best-00000004").iterdir())
    assert best == ["state.json", "weights.safetensors"]


def test_the_best_steps_weights_are_put_back(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.train(2)
    best = training.weights()
    training.checkpoints.save_best(training.progress)
    training.progress.best_step = 2
    training.train(5)
    mean = training.technique.mean
    assert not same(training.weights(), best)
    training.checkpoints.put_best_back(training.progress)
    assert same(training.weights(), best)
    assert training.technique.pruned == [0, 1], "what the method says of them is theirs"
    assert torch.equal(training.technique.mean, mean), "there is nothing more to learn from"
    assert training.technique.given == [{}]


@pytest.mark.parametrize("best", [0, 5])
def test_a_last_step_that_is_the_best_and_none_at_all_are_left_alone(
    tmp_path: Path, best: int
) -> None:
    training = Training(tmp_path)
    training.train(5)
    before = training.weights()
    training.progress.best_step = best
    training.checkpoints.put_best_back(training.progress)
    assert same(training.weights(), before)


def test_of_several_ranks_one_writes_and_all_wait(tmp_path: Path) -> None:
    first = Training(tmp_path)
    other = Training(tmp_path / "other", is_main_process=False)
    for training in (first, other):
        training.checkpoints.save_best(Progress(step=1))
        training.checkpoints.save(Progress(step=1, best_step=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-00000001", "step-00000001"]
    assert first.processes.waits == other.processes.waits == 2


def test_a_checkpoint_says_its_step_in_plain_json(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.train(2)
    training.checkpoints.save(training.progress)
    values = json.loads((tmp_path / "step-00000002" / "state.json").read_text())
    assert values["progress"]["step"] == 2
    assert values["method"] == {"pruned": [0, 1]}
    assert values["scaler"] == {}
