"""Optimizers: the same steps as their own libraries', groups' rates, and what memory is planned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.optimizers.optimizer import Group
from adapterworks.builders.training.state import (
    group_values,
    optimizer_tensors,
    restore_groups,
    restore_optimizer,
)

RATE, DECAY = 1e-2, 0.1
NAMES = [name for name in OPTIMIZERS if OPTIMIZERS[name].needs is None]


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((64, 96), (96, 8), (7,))
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def take(optimizer: torch.optim.Optimizer, given: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        for number, parameter in enumerate(given):
            generator = torch.Generator().manual_seed(100 * step + number)
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def groups(given: list[nn.Parameter], *, split: bool) -> list[Group]:
    if not split:
        return [Group(given, [str(i) for i in range(len(given))])]
    return [
        Group(given[:2], ["0", "1"], matrix=True),
        Group(given[2:], ["2"], times=3.0),
    ]


def theirs(name: str) -> Callable[[list[nn.Parameter]], list[torch.optim.Optimizer]]:
    """As the library itself is called."""
    import bitsandbytes
    from schedulefree import AdamWScheduleFree
    from transformers.optimization import Adafactor

    decay: dict[str, Any] = {"lr": RATE, "weight_decay": DECAY}
    return {
        "adamw": lambda p: [torch.optim.AdamW(p, **decay)],
        "adamw-8bit": lambda p: [bitsandbytes.optim.AdamW8bit(p, **decay)],
        "adafactor": lambda p: [Adafactor(p, scale_parameter=False, relative_step=False, **decay)],
        "muon": lambda p: [
            torch.optim.Muon(p[:2], adjust_lr_fn="match_rms_adamw", **decay),
            torch.optim.AdamW(p[2:], **decay),
        ],
        "schedule-free": lambda p: [AdamWScheduleFree(p, foreach=False, **decay)],
    }[name]


def mode(optimizer: Any, name: str) -> None:
    getattr(optimizer, name, lambda: None)()


@pytest.mark.parametrize("name", NAMES)
def test_it_steps_as_its_library_does(name: str) -> None:
    ours, reference = parameters(), parameters()
    optimizer = OPTIMIZERS[name].make(groups(ours, split=OPTIMIZERS[name].matrices), RATE, DECAY)
    for group in optimizer.param_groups:
        group["lr"] = RATE
    mode(optimizer, "train")
    take(optimizer, ours, range(4))
    for other in theirs(name)(reference):
        mode(other, "train")
        own = [p for group in other.param_groups for p in group["params"]]
        for step in range(4):
            for parameter in own:
                number = next(i for i, p in enumerate(reference) if p is parameter)
                generator = torch.Generator().manual_seed(100 * step + number)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            other.step()
        mode(other, "eval")
    mode(optimizer, "eval")
    for mine, its, before in zip(ours, reference, parameters(), strict=True):
        torch.testing.assert_close(mine, its, atol=1e-6, rtol=1e-6)
        assert (mine - before).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_after_three_steps_goes_on_as_if_it_had_not_stopped(name: str) -> None:
    kind, whole, stopped = OPTIMIZERS[name], parameters(), parameters()

    def made(given: list[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = kind.make(groups(given, split=True), RATE, DECAY)
        mode(optimizer, "train")
        return optimizer

    first = made(whole)
    take(first, whole, range(3))
    names = {p: str(i) for i, p in enumerate(whole)}
    tensors, values = optimizer_tensors(first, names)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}  # as a file has them
    remembered = group_values(first, kind.remembers)
    weights = [p.detach().clone() for p in whole]
    take(first, whole, range(3, 6))

    second = kind.make(groups(stopped, split=True), RATE, DECAY)
    with torch.no_grad():
        for parameter, saved in zip(stopped, weights, strict=True):
            parameter.copy_(saved)
    restore_optimizer(second, {p: str(i) for i, p in enumerate(stopped)}, tensors, values)
    restore_groups(second, remembered)
    mode(second, "train")
    take(second, stopped, range(3, 6))
    for optimizer in (first, second):
        mode(optimizer, "eval")
    for mine, expected in zip(stopped, whole, strict=True):
        assert torch.equal(mine, expected)


def test_a_group_keeps_what_its_rate_is_multiplied_by() -> None:
    optimizer = OPTIMIZERS["adamw"].make(groups(parameters(), split=True), RATE, DECAY)
    assert [group["times"] for group in optimizer.param_groups] == [1.0, 3.0]


@pytest.mark.parametrize("name", NAMES)
def test_no_more_memory_is_kept_than_is_planned(name: str) -> None:
    """Of matrices large enough that rows' and columns' sums are small beside them."""
    given = [nn.Parameter(torch.randn(256, 256)), nn.Parameter(torch.randn(256, 256))]
    optimizer = OPTIMIZERS[name].make(
        [Group(given, ["0", "1"], matrix=OPTIMIZERS[name].matrices)], RATE, DECAY
    )
    mode(optimizer, "train")
    take(optimizer, given, range(2))
    tensors, _ = optimizer_tensors(optimizer, {p: str(i) for i, p in enumerate(given)})
    held = sum(t.numel() * t.element_size() for t in tensors.values())
    assert held <= OPTIMIZERS[name].state * sum(p.numel() for p in given) * 1.05
