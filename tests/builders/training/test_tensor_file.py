"""Files of tensors: safetensors to its own library, and never two of their tensors in memory."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from adapterworks.builders.training import tensor_file
from adapterworks.builders.training.state import (
    load_trainable,
    optimizer_tensors,
    restore_optimizer,
    write_folder,
)
from adapterworks.builders.training.tensor_file import Tensors, write_tensors

GIVEN = {
    "odd": torch.arange(5, dtype=torch.uint8),
    "b": torch.arange(6.0).reshape(2, 3).T,
    "counter": torch.tensor(7.0),
    "half": torch.tensor([1.5, -2.0, 3.25]).bfloat16(),
    "empty": torch.zeros(0, 4),
    "long": torch.tensor([2**40]),
    "flags": torch.tensor([True, False, True]),
}


class Watched:
    """`whole`, which says how many of the tensors that it gave are still there."""

    def __init__(self) -> None:
        self.given: list[weakref.ref[torch.Tensor]] = []
        self.most = 0

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, 1 + sum(ref() is not None for ref in self.given))
        made = tensor.detach().clone().contiguous()
        self.given.append(weakref.ref(made))
        return made


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched()
    monkeypatch.setattr(tensor_file, "whole", made)
    return made


def test_it_is_read_by_safetensors_and_reads_what_that_writes(tmp_path: Path) -> None:
    write_tensors(tmp_path / "ours", GIVEN)
    save_file({name: tensor.contiguous() for name, tensor in GIVEN.items()}, tmp_path / "theirs")
    for found in (
        load_file(tmp_path / "ours"),
        Tensors(tmp_path / "theirs"),
        Tensors(tmp_path / "ours"),
    ):
        assert {*found} == {*GIVEN}
        for name, tensor in GIVEN.items():
            assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
            assert torch.equal(found[name], tensor), name
    assert Tensors(tmp_path / "gone") == {}
    with pytest.raises(KeyError):
        Tensors(tmp_path / "ours")["other"]


@pytest.mark.parametrize("here", [True, False])
def test_one_tensor_is_whole_at_a_time_in_every_process(
    tmp_path: Path, watched: Watched, here: bool
) -> None:
    """Of CodeLlama-34B eight processes that each hold weights and moments would be 3.3 TB. All
    gather the same ones in the same order, or they would wait for each other for ever."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    names = {parameter: name for name, parameter in model.named_parameters()}
    slots, _ = optimizer_tensors(optimizer, names)
    files = {"weights": dict(model.named_parameters()), "optimizer": slots}
    write_folder(tmp_path / "step", files, {"step": 1}, here=here)
    assert watched.most == 1
    assert len(watched.given) == 4 + 4 * 3
    assert [*tmp_path.iterdir()] == ([tmp_path / "step"] if here else [])


class Read(Tensors):
    """A file that says how many of its tensors that were read are still there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.given, self.most = list[Any](), 0

    def __getitem__(self, name: str) -> torch.Tensor:
        self.most = max(self.most, 1 + sum(ref() is not None for ref in self.given))
        tensor = super().__getitem__(name)
        self.given.append(weakref.ref(tensor))
        return tensor


def test_one_tensor_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each a process keeps its share, and lets go of the rest before the next."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    write_tensors(tmp_path / "weights", {n: p + 1 for n, p in model.named_parameters()})
    names = {parameter: name for name, parameter in model.named_parameters()}
    moments = {f"{name}.momentum_buffer": p.detach() + 2 for name, p in model.named_parameters()}
    write_tensors(tmp_path / "optimizer", moments)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    monkeypatch.setattr(
        "adapterworks.builders.training.state.like", lambda tensor, parameter: tensor.clone()
    )
    weights, slots = Read(tmp_path / "weights"), Read(tmp_path / "optimizer")
    load_trainable(model, weights)
    restore_optimizer(optimizer, names, slots, {})
    assert (weights.most, slots.most) == (1, 1)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] + 1)
        torch.testing.assert_close(
            optimizer.state[parameter]["momentum_buffer"], moments[f"{name}.momentum_buffer"]
        )
