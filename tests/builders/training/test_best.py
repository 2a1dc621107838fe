"""The best evaluation, and when to stop: what is written is not what came last."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapterworks.builders.methods.lora import LORA
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.loop import Trainer
from tests.builders.training.bench import Bench
from tests.builders.training.by_hand import (
    encoded_set,
)


def scripted(trainer: Trainer, *values: float) -> None:
    """The validation loss says these values in turn."""
    given = iter(values)
    trainer._validate = lambda: {"loss": next(given)}  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("patience", "values", "stops", "best"),
    [
        (None, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0), 9, 1),
        (1, (3.0, 2.0, 2.5, 1.0), 3, 2),
        (2, (3.0, 3.5, 2.0, 2.5, 1.0, 1.5, 1.4), 7, 5),  # what is better begins anew
        (2, (3.0, 3.0, 3.0), 3, 1),  # as good is not better
        (9, (1.0, *[2.0] * 8), 9, 1),
    ],
)
def test_early_stopping_counts_evaluations_without_a_better_one(
    bench: Bench, patience: int | None, values: tuple[float, ...], stops: int, best: int
) -> None:
    trainer = bench.trainer(bench.plan(evaluations=9, early_stopping=patience))
    scripted(trainer, *values)
    result = trainer.run()
    assert (result.steps, result.best_step, result.best_value) == (stops, best, values[best - 1])
    assert result.stopped_early is (stops < 9)


def test_a_stopped_training_that_is_asked_again_trains_no_further(bench: Bench) -> None:
    plan = bench.plan(evaluations=9, early_stopping=1)
    first = bench.trainer(plan)
    scripted(first, 1.0, 2.0)
    first.run()
    again = bench.trainer(plan)
    assert again.progress.stopped_early
    again.folder = bench.folder / "elsewhere"
    assert again.run().steps == 2


class Accuracy(type(OBJECTIVES["sft"])):  # type: ignore[misc]
    """What is reported is a metric, of which more is better."""

    reports = "right"
    higher_is_better = True
    unit = "of one"


def test_what_the_objective_reports_decides(bench: Bench) -> None:
    trainer = bench.trainer(bench.plan(evaluations=9, early_stopping=2))
    trainer.objective = Accuracy()
    given = iter([0.1, 0.5, 0.4, 0.7, 0.6, 0.65])
    trainer._validate = lambda: {"loss": 9.0, "right": next(given)}  # type: ignore[method-assign]
    result = trainer.run()
    assert (result.best_step, result.best_value, result.steps) == (4, 0.7, 6)
    assert (result.reported, result.unit) == ("right", "of one")
    assert [event["right"] for event in bench.events("validation")] == [
        0.1, 0.5, 0.4, 0.7, 0.6, 0.65,
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [{}, {"validation": EncodedSet((), ())}])
def test_without_validation_rows_the_last_weights_are_the_best(
    bench: Bench, rows: dict[str, EncodedSet]
) -> None:
    trainer = bench.trainer(bench.plan(early_stopping=1), rows={"train": encoded_set(), **rows})
    result = trainer.run()
    assert (result.best_step, result.best_value, result.steps) == (9, None, 9)
    assert {(event["loss"], event["best"]) for event in bench.events("validation")} == {
        (None, True)
    }
    assert torch.equal(bench.table(), trainer.bare.table.detach())


class Late(type(LORA)):  # type: ignore[misc]
    """A method whose weights are what it says only from step 4 on."""

    def best_from(self, table: Any, steps: int) -> int:
        assert steps == 9
        return 4


def test_a_step_before_the_method_is_ready_is_never_the_best(bench: Bench) -> None:
    """AdaLoRA before its budget is final: neither the best nor a reason to stop."""
    trainer = bench.trainer(bench.plan(evaluations=9, early_stopping=3))
    trainer.technique = Late()
    scripted(trainer, 0.1, 0.2, 0.3, 3.0, 2.0, 2.5, 2.6, 2.7)
    result = trainer.run()
    assert (result.best_step, result.best_value, result.steps) == (5, 2.0, 8)
    assert [event["best"] for event in bench.events("validation")][:5] == [
        False, False, False, True, True,
    ]  # fmt: skip
