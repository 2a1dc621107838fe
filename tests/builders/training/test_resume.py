"""A training that was stopped ends as one that was not, to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from adapterworks.builders.training.checkpoint import Progress
from tests.builders.training.bench import LENGTHS, Bench


@pytest.mark.parametrize("stop", [2, 5, 8])
def test_a_training_that_was_stopped_goes_on_to_the_bit_with_dropout(
    bench: Bench, stop: int
) -> None:
    """In the middle of an epoch, with its order, its random numbers, its best step and its sums;
    what was done after the last checkpoint is done again."""
    bench.dropout = 0.4
    plan = bench.plan(learning_rate=0.1, evaluations=9)
    plan = plan.model_copy(update={"evaluate_every": 2})
    whole = bench.trainer(plan, "whole")
    expected = whole.run()
    part = bench.trainer(plan, "part")

    def dying(indices: list[int], step: Callable[[list[int]], Any] = part._step) -> Any:
        if part.progress.step == stop:
            raise KeyboardInterrupt
        return step(indices)

    part._step = dying  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        part.run()
    torch.manual_seed(123)
    resumed = bench.trainer(plan, "part")
    assert [event["step"] for event in bench.events("resumed", "part")] == [stop // 2 * 2]
    result = resumed.run()
    assert torch.equal(bench.table("whole"), bench.table("part"))
    timed = {"tokens_per_second", "seconds", "peak_memory"}
    assert {k: v for k, v in asdict(result).items() if k not in timed} == {
        k: v for k, v in asdict(expected).items() if k not in timed
    }
    losses = {name: [e["loss"] for e in bench.events("step", name)] for name in ("whole", "part")}
    at = stop // 2 * 2
    assert losses["part"][:stop] + losses["part"][stop + stop - at :] == losses["whole"]
    tokens = [event["tokens"] for event in bench.events("step", "part")]
    assert tokens[-1] == 3 * sum(LENGTHS)


def test_a_training_up_to_a_step_can_be_continued(bench: Bench) -> None:
    """Calibration takes the first steps only."""
    plan = bench.plan(learning_rate=0.1)
    assert bench.trainer(plan).run(until=4).steps == 4
    (bench.folder / "job/train/adapter/adapter_model.safetensors").unlink()
    (bench.folder / "job/train/adapter").rmdir()
    assert bench.trainer(plan).run().steps == 9
    bench.trainer(plan, "whole").run()
    assert torch.equal(bench.table(), bench.table("whole"))


@pytest.mark.parametrize("stop", [2, 4])
def test_where_the_loss_began_is_remembered_when_it_goes_on(bench: Bench, stop: int) -> None:
    plan = bench.plan().model_copy(update={"evaluate_every": 2})
    whole = bench.trainer(plan, "whole")
    whole.run(until=6)
    bench.trainer(plan).run(until=stop)
    resumed = bench.trainer(plan)
    assert resumed.progress.first_losses == whole.progress.first_losses[:stop]  # type: ignore[index]
    (bench.folder / "job/train/adapter/adapter_model.safetensors").unlink()
    (bench.folder / "job/train/adapter").rmdir()
    resumed.run(until=6)
    assert resumed.progress.first_losses == whole.progress.first_losses
    assert len(whole.progress.first_losses or ()) == 5
    assert resumed.progress.smoothed == whole.progress.smoothed


def test_progress_begins_with_nothing(bench: Bench) -> None:
    trainer = bench.trainer(bench.plan())
    assert math.isnan(trainer.progress.loss)
    assert replace(trainer.progress, loss=0.0) == Progress(loss=0.0)
