"""The loop on a table of 49 numbers: a whole training as NumPy has it, order, events."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import accelerate
import numpy as np
import pytest

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.training import abilities, loop, prepare
from adapterworks.builders.training.batches import epoch_batches
from adapterworks.builders.training.events import read_events
from adapterworks.builders.training.step import Step
from adapterworks.manifests.errors import Refused
from tests.builders.training.bench import LENGTHS, Bench, by_numpy
from tests.builders.training.by_hand import (
    Bigram,
    Processes,
    encoded_set,
    table_of,
)


@pytest.mark.parametrize(
    "train",
    [
        {"learning_rate": 0.05},
        {"learning_rate": 0.05, "weight_decay": 0.3, "warmup_ratio": 0.4, "schedule": "linear"},
        {"learning_rate": 0.05, "max_grad_norm": 0.2, "warmup_ratio": 0.0, "micro_batch_size": 2},
        {"learning_rate": 0.05, "schedule": "constant", "group_by_length": True, "seed": 3},
        {"learning_rate": 0.05, "packing": True, "micro_batch_size": 2},
    ],
)
def test_a_whole_training_is_what_numpy_makes_of_it(bench: Bench, train: dict[str, Any]) -> None:
    plan = bench.plan(**train)
    trainer = bench.trainer(plan)
    expected = [*by_numpy(plan, table_of(trainer.bare))]
    result = trainer.run()
    steps, validations = bench.events("step"), bench.events("validation")
    assert [event["step"] for event in steps] == [*range(1, 10)]
    for seen, key in (("loss", "loss"), ("gradient_norm", "norm"), ("learning_rate", "rate")):
        values = [one[key] for one in expected]
        assert [event[seen] for event in steps] == pytest.approx(values, rel=1e-4, abs=1e-5)
    assert [event["tokens"] for event in steps] == [*np.cumsum([one["tokens"] for one in expected])]
    assert {event["steps"] for event in steps} == {9}
    assert [event["step"] for event in validations] == [2, 4, 6, 8, 9]
    losses = [expected[step - 1]["validation"] for step in (2, 4, 6, 8, 9)]
    assert [event["loss"] for event in validations] == pytest.approx(losses, rel=1e-4)
    best = (2, 4, 6, 8, 9)[int(np.argmin(losses))]
    assert (result.best_step, result.best_value) == (best, pytest.approx(min(losses), rel=1e-4))
    np.testing.assert_allclose(
        bench.table().numpy(), expected[best - 1]["table"], rtol=1e-3, atol=1e-4
    )


def test_the_best_steps_weights_are_written_not_the_last_ones(bench: Bench) -> None:
    """What is learnt of these rows is bad for the others after a while: the loss there rises."""
    plan = bench.plan(learning_rate=0.3, epochs=6.0, evaluations=6, weight_decay=0.0)
    trainer = bench.trainer(plan)
    expected = [*by_numpy(plan, table_of(trainer.bare))]
    result = trainer.run()
    losses = {step: expected[step - 1]["validation"] for step in (3, 6, 9, 12, 15, 18)}
    best = min(losses, key=losses.__getitem__)
    assert best < 18, "else this says nothing"
    assert result.best_step == best
    np.testing.assert_allclose(
        bench.table().numpy(), expected[best - 1]["table"], rtol=1e-3, atol=1e-3
    )
    shown = {event["step"]: event["best"] for event in bench.events("validation")}
    falls, lowest = {}, math.inf
    for step, loss in losses.items():
        falls[step], lowest = loss < lowest, min(loss, lowest)
    assert shown == falls


def test_dropout_is_on_in_steps_and_off_in_evaluations(bench: Bench) -> None:
    bench.dropout = 0.5
    trainer = bench.trainer(bench.plan())
    trainer.run()
    by_mode = [seen["training"] for seen in trainer.bare.seen]
    # Rows of each step, then two of validation: nine steps of 2, 2 and 1 rows, five evaluations.
    assert by_mode.count(True) == 15
    assert by_mode.count(False) == 10
    assert all(seen["gradient"] is seen["training"] for seen in trainer.bare.seen)


def test_every_epoch_has_the_rows_in_its_own_order(bench: Bench) -> None:
    trainer = bench.trainer(bench.plan(group_by_length=True, seed=9))
    seen, step = [], trainer._step
    trainer._step = lambda indices: seen.append(indices) or step(indices)  # type: ignore[method-assign]
    trainer.run()
    expected = [
        batch
        for epoch in range(3)
        for batch in epoch_batches(LENGTHS, 2, group=True, seed=9, epoch=epoch)
    ]
    assert seen == expected


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("group", [False, True])
def test_packed_rows_are_not_grouped_by_length(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, packing: bool, group: bool
) -> None:
    """There is no padding to save, and grouping would only take order away."""
    plan = bench.plan()
    changed = {"packing": packing, "group_by_length": group}
    train = plan.manifest.train.model_copy(update=changed)
    manifest = plan.manifest.model_copy(update={"train": train})
    plan = plan.model_copy(update={"manifest": manifest})
    given: dict[str, Any] = {}
    monkeypatch.setattr(prepare, "epoch_batches", lambda *_, **options: given.update(options))
    prepare.batches_of(plan, 2, encoded_set())
    assert given == {"group": group and not packing, "seed": 42, "epoch": 2}


def test_a_training_that_diverges_stops_with_its_step_and_writes_nothing(bench: Bench) -> None:
    trainer = bench.trainer(bench.plan(learning_rate=0.25, schedule="constant", warmup_ratio=0.0))

    class Strict(type(OBJECTIVES["sft"])):  # type: ignore[misc]
        def diverged_above(self, start: float) -> float:
            return -1.0

    trainer.objective = Strict()
    with pytest.raises(Refused, match=r"training stopped at step 5: the loss rose from") as caught:
        trainer.run()
    assert "`train.learning_rate` (here 0.25, usual for `lora`: 0.0002)" in str(caught.value.hint)
    (event,) = bench.events("diverged")
    assert event["step"] == 5
    assert event["reason"].startswith("the loss rose from")
    assert len(bench.events("step")) == 4
    assert not (bench.folder / "job/train/adapter").exists()


def test_speed_and_what_is_left_come_from_the_steps_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock of 437 ms a look: each step takes that, evaluations do not count."""
    clock = count(100.0, 0.4375)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    trainer = bench.trainer(bench.plan())
    result = trainer.run()
    steps = bench.events("step")
    tokens = [event["tokens"] for event in steps]
    assert [event["tokens_per_second"] for event in steps] == [
        round(sum_ / (0.4375 * number), 1) for number, sum_ in enumerate(tokens, 1)
    ]
    assert [event["seconds_left"] for event in steps] == [
        round(0.4375 * left, 1) for left in range(8, -1, -1)
    ]
    assert result.seconds == 9 * 0.4375
    assert result.tokens_per_second == pytest.approx(3 * sum(LENGTHS) / (9 * 0.4375))


def test_what_it_came_to_is_told_and_written(bench: Bench) -> None:
    result = bench.trainer(bench.plan()).run()
    written = json.loads((bench.folder / "job/train/result.json").read_text())
    assert written == asdict(result)
    (told,) = bench.events("trained")
    assert {key: told[key] for key in written} == written
    assert result.train_loss == pytest.approx(bench.events("step")[-1]["loss"], abs=1e-5)
    assert (result.reported, result.unit) == ("loss", "nats per supervised token")
    assert result.peak_memory >= 0
    assert not result.stopped_early
    kinds = [event["event"] for event in read_events(bench.folder / "job" / "events.jsonl")]
    one = ["step", "step", "validation", "checkpoint"]
    assert kinds == [*one * 4, "step", "validation", "checkpoint", "trained"]
    assert [event["step"] for event in bench.events("checkpoint")] == [2, 4, 6, 8, 9]
    assert not bench.events("resumed")
    assert not bench.events("shared_prefix")


def test_trackers_hear_what_the_log_has_and_are_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []

    class Ears:
        lost = None

        def log(self, event: str, fields: dict[str, Any]) -> None:
            heard.append((event, fields.get("step")))

        def close(self) -> None:
            heard.append("closed")

    monkeypatch.setattr(loop, "make_trackers", lambda plan, folder: Ears())
    bench.trainer(bench.plan(max_steps=2, evaluations=1)).run()
    assert heard == [
        ("step", 1), ("step", 2), ("validation", 2), ("checkpoint", 2), ("trained", None), "closed",
    ]  # fmt: skip


def test_trackers_are_closed_when_a_training_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    ears = SimpleNamespace(log=lambda *_: None, close=lambda: closed.append(True))
    monkeypatch.setattr(loop, "make_trackers", lambda plan, folder: ears)
    trainer = bench.trainer(bench.plan())
    monkeypatch.setattr(loop.Divergence, "message", lambda *_: "it diverged")
    with pytest.raises(Refused, match="it diverged"):
        trainer.run()
    assert closed == [True]


def test_of_several_ranks_one_speaks_and_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = bench.trainer(bench.plan())
    monkeypatch.setattr(type(trainer.accelerator), "is_main_process", False)
    trainer.run()
    assert read_events(bench.folder / "job" / "events.jsonl") == []
    assert not (bench.folder / "job" / "train").exists()


@pytest.mark.parametrize(("precision", "mixed"), [("fp32", "no"), ("bf16", "bf16"), ("auto", "no")])
def test_the_plans_precision_is_accelerates(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, precision: str, mixed: str | None
) -> None:
    given: list[dict[str, Any]] = []

    class Told(accelerate.Accelerator):
        def __init__(self, **options: Any) -> None:
            given.append(options)
            super().__init__(cpu=True)

    monkeypatch.setattr(accelerate, "Accelerator", Told)
    bench.trainer(bench.plan(precision=precision))
    (options,) = given
    assert (options["mixed_precision"], options["cpu"]) == (mixed, True)


def test_processes_wait_for_hours(bench: Bench) -> None:
    """One writes a checkpoint of hundreds of GB meanwhile; NCCL alone gives up after 600 s."""
    told = bench.trainer(bench.plan()).accelerator.init_handler
    assert told.timeout >= timedelta(hours=3)


def test_the_environment_neither_compiles_nor_divides(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state()
    GradientState._reset_state()
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "eager")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = bench.trainer(bench.plan()).accelerator
    assert accelerator.state.dynamo_plugin.backend == "NO"
    assert accelerator.gradient_accumulation_steps == 1


@pytest.mark.parametrize("alike", [True, False])
def test_a_shared_beginning_is_tried_on_the_longest_rows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, alike: bool
) -> None:
    asked: list[Any] = []

    def computes_alike(model: Any, sequences: Any, **options: Any) -> bool:
        asked.append((model, [len(s.input_ids) for s in sequences], options))
        return alike

    monkeypatch.setattr(abilities, "computes_alike", computes_alike)
    plan = bench.plan(micro_batch_size=2).model_copy(update={"shared_prefix": 1})
    trainer = bench.trainer(plan)
    assert trainer.forward.shares_prefix is alike
    ((model, lengths, options),) = asked
    assert model is trainer.model
    assert lengths == [8, 6]
    assert options == {
        "pad": 6,
        "precision": "fp32",
        "virtual_tokens": 0,
        "packing": False,
        "sizes": [],
        "projection": None,
    }
    (event,) = bench.events("shared_prefix")
    assert (event["tokens"], event["used"]) == (1, alike)


def test_a_soft_prompt_shares_its_beginning_in_one_process_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        abilities, "computes_alike", lambda model, *_, **__: asked.append(model) or True
    )
    asked: list[Any] = []
    trainer = bench.trainer(bench.plan())
    assert not trainer.forward.shares_prefix, "the plan says no"
    assert not asked
    rows, plan = encoded_set(), trainer.plan
    forward = replace(trainer.forward, bare=Bigram(), model=Bigram())
    assert abilities.prefix_can_be_shared(forward, rows, plan, alone=False)
    soft = replace(forward, soft_prompt=True)
    assert not abilities.prefix_can_be_shared(soft, rows, plan, alone=False)
    assert abilities.prefix_can_be_shared(soft, rows, plan, alone=True)
    assert [model is soft.bare for model in asked] == [False, True]


def test_numbers_are_told_to_five_digits_and_metrics_under_their_names(bench: Bench) -> None:
    trainer = bench.trainer(bench.plan(max_steps=1))
    step = Step(0.0123456789, 1.23456789, 2.34567891, 7, {"right": 0.98765432})
    trainer._step = lambda indices: step  # type: ignore[method-assign]
    result = trainer.run()
    (event,) = bench.events("step")
    told = {key: event[key] for key in ("loss", "gradient_norm", "right", "learning_rate")}
    assert told == {
        "loss": 1.23457, "gradient_norm": 2.34568, "right": 0.98765, "learning_rate": 0.0123456789,
    }  # fmt: skip
    assert (event["tokens"], event["steps"]) == (7, 1)
    assert result.train_loss == 1.23456789


@pytest.mark.parametrize("alike", [True, False])
def test_packing_that_a_base_cannot_do_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, alike: bool
) -> None:
    asked: list[Any] = []

    def computes_alike(model: Any, sequences: Any, **options: Any) -> bool:
        asked.append(options["packing"])
        return alike

    monkeypatch.setattr(abilities, "computes_alike", computes_alike)
    plan = bench.plan(packing=True)
    if alike:
        bench.trainer(plan)
    else:
        with pytest.raises(Refused, match="packed rows would learn from one another"):
            bench.trainer(plan)
    assert asked == [True]


def test_validation_is_shared_and_summed_over_processes(bench: Bench) -> None:
    """Each rank computes its rows, and both say the same of all of them."""
    alone = bench.trainer(bench.plan())
    whole = alone._validate()
    assert whole is not None
    parts = []
    for rank in (0, 1):
        trainer = bench.trainer(bench.plan(), f"rank-{rank}")
        trainer.accelerator = Processes(2, rank)
        found = trainer._validate()
        assert found is not None
        assert len(trainer.accelerator.reduced) == len(found)
        parts.append(found["loss"] / 2)  # the stand-in's sum is its own part twice
    assert parts[0] != parts[1]
    assert sum(parts) == pytest.approx(whole["loss"], rel=1e-6)
