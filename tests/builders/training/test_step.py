"""One optimizer step under plain SGD, against NumPy in float64: nothing hides a wrong gradient.

AdamW divides a gradient by its own size, so that a wrong factor would not be seen in the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn

from adapterworks.builders.methods.lora import LORA
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.objective import Loss
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.step import Step, Stepper
from tests.builders.build_support import manifest_for
from tests.builders.training.by_hand import (
    LABELS,
    ROWS,
    Bigram,
    Processes,
    encoded_set,
    nats_and_gradient,
    table_of,
)

ALL = [0, 1, 2, 3, 4]
RATE = 0.5  # of step 1 of 4 with one of warm-up, peak 0.5


class Watched(type(LORA)):  # type: ignore[misc]
    """A method that says when it is asked, and may have a regularizer: its strength · Σ w²/2."""

    def __init__(self, strength: float = 0.0) -> None:
        self.strength = strength
        self.steps: list[tuple[int, bool]] = []

    def extra_loss(self, model: nn.Module) -> torch.Tensor | None:
        if not self.strength:
            return None
        return self.strength * sum(p.square().sum() / 2 for p in model.parameters())

    def before_zero_grad(self, model: nn.Module, step: int) -> None:
        self.steps.append((step, all(p.grad is not None for p in model.parameters())))


def stepper(
    model: nn.Module,
    *,
    micro_batch: int = 2,
    max_grad_norm: float = 1e9,
    technique: Any = None,
    processes: Processes | None = None,
    objective: Any = OBJECTIVES["sft"],
    **train: Any,
) -> Stepper:
    manifest = manifest_for("lora", max_grad_norm=max_grad_norm, **train)
    plan: Any = SimpleNamespace(
        manifest=manifest,
        steps=4,
        learning_rate=0.5,
        warmup_steps=1,
        micro_batch=micro_batch,
        shared_prefix=0,
    )
    return Stepper(
        plan,
        Forward(objective, model, model, False, 0, 6),
        technique or Watched(),
        processes or Processes(),
        torch.optim.SGD(model.parameters(), lr=99.0),
        encoded_set(),
        [*model.parameters()],
    )


def moved(model: nn.Module, take: Stepper, indices: Sequence[int], number: int = 1) -> np.ndarray:
    """By how much a step moved the table."""
    before = table_of(model)
    take.take([*indices], number)
    return table_of(model) - before


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4, 5, 8])
def test_a_step_is_the_mean_over_all_its_tokens(micro_batch: int) -> None:
    """Rows of 1, 4, 2, 7 and 1 labels, whatever micro batches they fall into: the last is smaller.
    A mean of means would weigh the first row's label seven times as much as one of the fourth's
    (transformers' accumulation bug, huggingface/transformers#34191)."""
    model = Bigram()
    nats, gradient = nats_and_gradient(table_of(model), ALL)
    take = stepper(model, micro_batch=micro_batch)
    before = table_of(model)
    step = take.take(ALL, 1)
    np.testing.assert_allclose(
        table_of(model) - before, -RATE * gradient / sum(LABELS), rtol=1e-4, atol=1e-6
    )
    assert step.loss == pytest.approx(nats / sum(LABELS), rel=1e-6)
    assert step.norm == pytest.approx(np.linalg.norm(gradient / sum(LABELS)), rel=1e-5)
    assert step.tokens == 3 + 6 + 4 + 8 + 4
    assert (step.rate, step.metrics) == (RATE, {})
    assert len(model.seen) == math.ceil(5 / micro_batch)


def test_a_mean_of_means_is_another_number() -> None:
    """What the test above tells apart, in its own numbers."""
    table = table_of(Bigram())
    parts = [nats_and_gradient(table, part) for part in ([0, 1], [2, 3], [4])]
    counts = [5, 9, 1]
    means = sum(part[1] / count for part, count in zip(parts, counts, strict=True)) / 3
    _, whole = nats_and_gradient(table, ALL)
    assert np.abs(means - whole / 15).max() > 0.05


def test_packed_rows_give_the_gradient_of_padded_ones() -> None:
    changes = [
        moved(model, stepper(model, packing=packing), ALL)
        for packing in (False, True)
        for model in [Bigram()]
    ]
    np.testing.assert_allclose(changes[0], changes[1], rtol=1e-5, atol=1e-7)
    packed = Bigram()
    stepper(packed, packing=True, micro_batch=5).take(ALL, 1)
    assert packed.seen[0]["input_ids"].shape == (1, 25)
    assert "attention_mask" not in packed.seen[0]


def test_only_the_steps_own_rows_count() -> None:
    model = Bigram()
    _, gradient = nats_and_gradient(table_of(model), [3, 1])
    change = moved(model, stepper(model), [3, 1])
    np.testing.assert_allclose(change, -RATE * gradient / 11, rtol=1e-4, atol=1e-6)


def test_a_step_forgets_the_one_before() -> None:
    model = Bigram()
    take = stepper(model)
    take.take(ALL, 0)
    assert all(p.grad is None for p in model.parameters())
    _, gradient = nats_and_gradient(table_of(model), ALL)
    np.testing.assert_allclose(moved(model, take, ALL), -RATE * gradient / 15, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("number", "rate"), [(0, 0.5), (1, 0.5), (2, 0.375), (3, 0.125)])
def test_every_group_of_parameters_has_the_steps_rate(number: int, rate: float) -> None:
    """Cosine over the three steps after one of warm-up: ½(1 + cos 0), ½(1 + cos π/3), …, of 0.5."""
    model = Bigram()
    take = stepper(model)
    take.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 7.0})
    assert take.take(ALL, number).rate == pytest.approx(rate)
    assert [group["lr"] for group in take.optimizer.param_groups] == pytest.approx([rate] * 2)
    take.optimizer.param_groups[1]["times"] = 3.0  # what a method asks for some of its parameters
    take.take(ALL, number)
    assert [g["lr"] for g in take.optimizer.param_groups] == pytest.approx([rate, 3 * rate])


@pytest.mark.parametrize("limit", [0.1, 1e3])
def test_a_gradient_is_clipped_to_its_norm_over_all_parameters(limit: float) -> None:
    model = Bigram()
    model.other = nn.Parameter(torch.tensor([3.0, 4.0]))
    technique = Watched(strength=0.1)  # gives `other` the gradient 0.1·(3, 4)
    _, gradient = nats_and_gradient(table_of(model), ALL)
    gradient = gradient / 15 + 0.1 * table_of(model)
    norm = math.sqrt(float((gradient**2).sum()) + 0.25)
    take = stepper(model, technique=technique, max_grad_norm=limit)
    before = table_of(model)
    step = take.take(ALL, 1)
    assert step.norm == pytest.approx(norm, rel=1e-5), "what is told is the norm before clipping"
    scale = min(1.0, limit / norm)
    assert (scale < 1) is (limit == 0.1)
    np.testing.assert_allclose(
        table_of(model) - before, -RATE * scale * gradient, rtol=1e-3, atol=1e-6
    )
    expected = np.array([3.0, 4.0]) * (1 - RATE * scale * 0.1)
    np.testing.assert_allclose(model.other.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 2, 5])
def test_a_regularizer_counts_once_however_the_step_is_cut(micro_batch: int) -> None:
    model = Bigram()
    table = table_of(model)
    nats, gradient = nats_and_gradient(table, ALL)
    take = stepper(model, micro_batch=micro_batch, technique=Watched(strength=0.3))
    step = take.take(ALL, 1)
    expected = -RATE * (gradient / 15 + 0.3 * table)
    np.testing.assert_allclose(table_of(model) - table, expected, rtol=1e-4, atol=1e-6)
    assert step.loss == pytest.approx(nats / 15, rel=1e-6), "what is told is the objective's loss"


def test_the_methods_hook_sees_the_gradients_and_steps_from_one() -> None:
    technique = Watched()
    take = stepper(Bigram(), technique=technique)
    take.take(ALL, 0)
    take.take(ALL, 3)
    assert technique.steps == [(1, True), (4, True)]


def test_the_methods_hook_is_called_once_a_step_whatever_its_updates() -> None:
    """After the last of several, and where nothing is learnt, without gradients."""
    technique = Watched()
    model = Bigram()
    take = stepper(model, technique=technique)
    tables = [table_of(model)]
    technique.before_zero_grad = (  # type: ignore[method-assign]
        lambda given, step: (
            tables.append(table_of(given))
            or technique.steps.append((step, all(p.grad is not None for p in given.parameters())))
        )
    )
    take.take_each([[0, 1], [2], [3, 4]], 1)
    assert technique.steps == [(2, True)]
    np.testing.assert_array_equal(tables[-1], table_of(model))
    assert take.take_each([], 2).tokens == 0
    assert technique.steps == [(2, True), (3, False)]


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_step_that_is_no_number_changes_nothing(broken: str) -> None:
    """The loop stops with a reason; the weights are still those that it can be told of."""
    model, technique = Bigram(), Watched()
    if broken == "gradient":
        model.table.register_hook(lambda gradient: gradient * math.inf)
    else:
        with torch.no_grad():
            model.table[0, 0] = math.nan
        model.table.register_hook(torch.zeros_like)
    before = table_of(model)
    step = stepper(model, technique=technique).take(ALL, 1)
    assert math.isfinite(step.loss) is (broken == "gradient")
    assert math.isfinite(step.norm) is (broken == "loss")
    np.testing.assert_array_equal(table_of(model), before)
    assert technique.steps == []
    assert model.table.grad is None


@dataclass
class Scaling(Processes):
    """fp16's part of `accelerate`: the loss is scaled, and gradients are unscaled to be clipped."""

    optimizer: Any = None

    def backward(self, loss: torch.Tensor) -> None:
        super().backward(self.scaler.scale(loss))

    def clip_grad_norm_(self, parameters: Sequence[nn.Parameter], norm: float) -> torch.Tensor:
        self.scaler.unscale_(self.optimizer.optimizer)
        return super().clip_grad_norm_(parameters, norm)


def scaled(model: nn.Module, scale: float, technique: Any = None) -> Stepper:
    """A stepper whose optimizer is `accelerate`'s own, with torch's own scaler."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    processes = Scaling(scaler=scaler)
    take = stepper(model, processes=processes, technique=technique)
    Accelerator(cpu=True)  # its optimizers ask for its state
    take.optimizer = AcceleratedOptimizer(take.optimizer, scaler=scaler)
    processes.optimizer = take.optimizer
    return take


def test_a_scale_that_overflows_is_halved_and_the_same_rows_are_taken_again() -> None:
    """It ended the training as "diverged", although the scale begins where it may be too large."""
    model, plain, technique = Bigram(), Bigram(), Watched()
    largest = torch.finfo(torch.float16).max
    model.table.register_hook(lambda g: torch.where(g.abs() > largest, torch.inf, g))
    take = scaled(model, 2.0**24, technique)
    for number in (1, 2):
        step = take.take(ALL, number)
        expected = stepper(plain).take(ALL, number)
        assert (step.loss, step.norm) == pytest.approx((expected.loss, expected.norm), rel=1e-5)
    np.testing.assert_allclose(table_of(model), table_of(plain), rtol=1e-5)
    assert 1.0 < take.accelerator.scaler.get_scale() <= 2.0**20
    assert [number for number, _ in technique.steps] == [2, 3], "once a step, not once an attempt"


def test_a_gradient_that_is_no_number_at_any_scale_is_told() -> None:
    model = Bigram()
    model.table.register_hook(lambda gradient: gradient * math.inf)
    before = table_of(model)
    take = scaled(model, 2.0**16)
    step = take.take(ALL, 1)
    assert not math.isfinite(step.norm)
    assert take.accelerator.scaler.get_scale() == 1.0
    np.testing.assert_array_equal(table_of(model), before)
    assert model.table.grad is None


class Counting(type(OBJECTIVES["sft"])):  # type: ignore[misc]
    """Sft that also says how many tokens it saw, and how unlikely the worst was."""

    def losses(self, scores: Scores) -> Loss:
        loss = super().losses(scores)
        ones = torch.ones_like(scores.logprobs)
        return replace(loss, metrics={"worst": -scores.logprobs.min(), "seen": ones.sum()})


@pytest.mark.parametrize("micro_batch", [2, 5])
def test_metrics_are_sums_over_the_step_divided_by_its_count(micro_batch: int) -> None:
    model = Bigram()
    step = stepper(model, micro_batch=micro_batch, objective=Counting()).take(ALL, 1)
    assert step.metrics["seen"] == pytest.approx(1.0)
    table = table_of(Bigram())
    worst = 0.0
    for part in (ALL[start : start + micro_batch] for start in range(0, 5, micro_batch)):
        ones = [w for index in part for w in _nats_of_each(table, index)]
        worst += max(ones)
    assert step.metrics["worst"] == pytest.approx(worst / 15, rel=1e-5)
    assert {*step.metrics} == {"worst", "seen"}


def _nats_of_each(table: np.ndarray, index: int) -> list[float]:
    ids, start = ROWS[index]
    found = []
    for place in range(start, len(ids)):
        row = table[ids[place - 1]]
        found.append(float(np.log(np.exp(row).sum()) - row[ids[place]]))
    return found


@pytest.mark.parametrize("regularizer", [0.0, 0.3])
@pytest.mark.parametrize(("indices", "micro_batch"), [(ALL, 2), ([3], 1), (ALL, 1), ([0, 1], 8)])
def test_ranks_together_take_the_step_of_one(
    indices: list[int], micro_batch: int, regularizer: float
) -> None:
    """DDP makes every process's gradient the mean over all, and each waits for the others in every
    backward pass: so all take as many, also one that has no row left."""
    alone = Bigram()
    table = table_of(alone)
    nats, gradient = nats_and_gradient(table, indices)
    total = sum(LABELS[index] for index in indices)
    changes, steps, backwards = [], list[Step](), []
    for index in range(2):
        model = Bigram()
        processes = Processes(num_processes=2, process_index=index)
        take = stepper(
            model,
            micro_batch=micro_batch,
            processes=processes,
            technique=Watched(regularizer),
            objective=Counting(),
        )
        steps.append(take.take(indices, 1))
        changes.append(table_of(model) - table)
        backwards.append(len(processes.backwards))
        # All ask in the same order, whatever order their objective tells its metrics in.
        asked = [steps[-1].loss, *(steps[-1].metrics[name] for name in ("seen", "worst"))]
        assert processes.reduced == pytest.approx([value * total / 2 for value in asked])
    expected = -RATE * (gradient / total + regularizer * table)
    np.testing.assert_allclose(sum(changes) / 2, expected, rtol=1e-4, atol=1e-6)
    if (indices, micro_batch) == (ALL, 2):  # the second has two rows of five, the first three
        assert len(model.seen[-1]["input_ids"]) == 1, "what only keeps up is as little as can be"
    assert backwards[0] == backwards[1] == math.ceil(math.ceil(len(indices) / 2) / micro_batch)
    # Here the sum over both is twice one's own, so their mean is the whole.
    assert sum(step.loss for step in steps) / 2 == pytest.approx(nats / total, rel=1e-5)
    assert sum(step.metrics["seen"] for step in steps) / 2 == pytest.approx(1.0)
    assert steps[0].tokens == steps[1].tokens == sum(take.rows.lengths[i] for i in indices)


def test_one_process_asks_nobody() -> None:
    processes = Processes()
    processes.reduce = None  # type: ignore[method-assign,assignment]
    assert stepper(Bigram(), processes=processes).take(ALL, 1).loss > 0


def test_gradients_are_summed_over_processes_once_a_step() -> None:
    """Three micro batches of this rank: the first two keep their gradients to themselves."""
    many = Processes(2, 0)
    stepper(Bigram(), micro_batch=1, processes=many).take(ALL, 1)
    assert len(many.backwards) == 3
    assert many.waiting == [True, True]
    alone = Processes()
    stepper(Bigram(), micro_batch=1, processes=alone).take(ALL, 1)
    assert alone.waiting == []
