"""A checkpoint's files: complete or not there, and everything in them comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from adapterworks.builders.training.state import (
    keep_only,
    load_trainable,
    newest,
    optimizer_tensors,
    read_folder,
    restore_optimizer,
    restore_rng,
    rng_tensors,
    trainable_tensors,
    write_folder,
)


def model(seed: int = 0) -> nn.Module:
    """Two layers, of which the first is frozen."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    made[0].requires_grad_(False)
    return made


def test_only_what_is_trained_is_kept() -> None:
    made = model()
    tensors = trainable_tensors(made)
    assert {*tensors} == {"1.weight", "1.bias"}
    assert not any(tensor.requires_grad for tensor in tensors.values())
    other = model(1)
    frozen = other[0].weight.clone()
    load_trainable(other, tensors)
    assert torch.equal(other[1].weight, made[1].weight)
    assert torch.equal(other[1].bias, made[1].bias)
    assert torch.equal(other[0].weight, frozen)
    assert all(p.requires_grad for p in other[1].parameters())


def test_weights_of_other_names_are_not_taken() -> None:
    with pytest.raises(AssertionError, match="another method or shape"):
        load_trainable(model(), {"1.weight": torch.zeros(2, 4)})


def test_what_is_removed_is_no_checkpoint_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in the middle leaves files, and nothing that a training would go on from."""
    for step in (1, 2):
        write_folder(tmp_path / f"step-{step}", {"weights.safetensors": {"a": torch.ones(1)}}, {})
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    keep_only(tmp_path, {"step-1"})
    assert (tmp_path / "step-2" / "weights.safetensors").exists()
    found = newest(tmp_path)
    assert found is not None
    assert found.folder.name == "step-1"


def trained(
    made: nn.Module, kind: type[torch.optim.Optimizer], steps: int
) -> torch.optim.Optimizer:
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind([p for p in made.parameters() if p.requires_grad], lr=0.1, **options)
    steps_of(made, optimizer, range(steps))
    return optimizer


def steps_of(made: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    for number in numbers:
        inputs = torch.arange(6.0).reshape(2, 3) * (number + 1)
        made(inputs).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_goes_on_as_if_it_had_not_stopped(
    kind: type[torch.optim.Optimizer], tmp_path: Path
) -> None:
    whole = model()
    optimizer = trained(whole, kind, 3)
    names = {p: n for n, p in whole.named_parameters() if p.requires_grad}
    tensors, values = optimizer_tensors(optimizer, names)
    slots = {"exp_avg", "exp_avg_sq", "step"} if kind is torch.optim.AdamW else {"momentum_buffer"}
    assert {*tensors} == {f"1.{p}.{slot}" for p in ("weight", "bias") for slot in slots}
    write_folder(tmp_path / "step-3", {"o.safetensors": tensors}, {"optimizer": values})
    part = model(5)
    load_trainable(part, trainable_tensors(whole))
    part[0].load_state_dict(whole[0].state_dict())
    fresh = trained(part, kind, 0)
    read = json.loads((tmp_path / "step-3" / "state.json").read_text())
    restore_optimizer(
        fresh,
        {p: n for n, p in part.named_parameters() if p.requires_grad},
        read_folder(tmp_path / "step-3", "o.safetensors"),
        read["optimizer"],
    )
    steps_of(whole, optimizer, range(3, 6))
    steps_of(part, fresh, range(3, 6))
    assert torch.equal(whole[1].weight, part[1].weight)
    assert torch.equal(whole[1].bias, part[1].bias)


def test_what_an_optimizer_keeps_beside_tensors_comes_back_too() -> None:
    made = model()
    optimizer = trained(made, torch.optim.SGD, 1)
    names = {p: n for n, p in made.named_parameters() if p.requires_grad}
    optimizer.state[made[1].bias] |= {"count": 7, "phase": "warm"}
    tensors, values = optimizer_tensors(optimizer, names)
    assert values == {"1.bias": {"count": 7, "phase": "warm"}}
    fresh = trained(made, torch.optim.SGD, 0)
    restore_optimizer(fresh, names, tensors, values)
    assert fresh.state[made[1].bias]["count"] == 7
    assert torch.equal(
        fresh.state[made[1].bias]["momentum_buffer"],
        optimizer.state[made[1].bias]["momentum_buffer"],
    )


def test_moments_follow_their_parameter_and_adamws_counter_stays_on_the_cpu() -> None:
    parameter = nn.Parameter(torch.zeros(2, device="meta"))
    optimizer = torch.optim.AdamW([parameter])
    tensors = {"w.x.exp_avg": torch.ones(2), "w.x.step": torch.tensor(3.0)}
    restore_optimizer(optimizer, {parameter: "w.x"}, tensors, {})
    assert optimizer.state[parameter]["exp_avg"].device.type == "meta"
    assert optimizer.state[parameter]["step"].device.type == "cpu"
    assert float(optimizer.state[parameter]["step"]) == 3.0


def test_random_numbers_go_on_where_they_were() -> None:
    torch.manual_seed(11)
    torch.rand(5)
    states = rng_tensors()
    expected = torch.rand(4)
    torch.manual_seed(99)
    restore_rng(states)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("there", [True, False])
def test_so_do_those_of_a_gpu_where_there_is_one(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stood in for: what is asked of `torch.cuda`, and in which order."""
    put: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([3], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", put.append)
    states = rng_tensors()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    restore_rng(states)
    assert [state.tolist() for state in put] == ([[3]] if there else [])
    restore_rng({"cpu": states["cpu"]})  # a checkpoint that was written without a GPU
    assert len(put) == there


def test_a_checkpoint_appears_whole_in_place_of_an_older_one(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "step-00000003"
    left = folder.with_name(f".{folder.name}.tmp")
    left.mkdir(parents=True)
    (left / "half-written").write_text("by a process that was killed")
    write_folder(folder, {"a.safetensors": {"x": torch.arange(6).reshape(2, 3).T}}, {"step": 3})
    assert sorted(path.name for path in folder.iterdir()) == ["a.safetensors", "state.json"]
    assert read_folder(folder, "a.safetensors")["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    write_folder(folder, {"b.safetensors": {}}, {"step": 4})
    assert sorted(path.name for path in folder.iterdir()) == ["b.safetensors", "state.json"]
    assert json.loads((folder / "state.json").read_text()) == {"step": 4}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_file_that_was_not_written_has_no_tensors(tmp_path: Path) -> None:
    assert read_folder(tmp_path, "gone.safetensors") == {}


def test_the_newest_is_the_last_complete_one(tmp_path: Path) -> None:
    assert newest(tmp_path / "gone") is None
    for step in (9, 10, 11):
        files = {"a.safetensors": {"x": torch.zeros(1)}}
        write_folder(tmp_path / f"step-{step:08d}", files, {"step": step})
    write_folder(tmp_path / "best-00000012", {}, {"step": 12})
    (tmp_path / "step-00000011" / "state.json").unlink()
    found = newest(tmp_path)
    assert found is not None
    assert (found.folder.name, found.values) == ("step-00000010", {"step": 10})


def test_all_others_are_removed(tmp_path: Path) -> None:
    for name in ("step-1", "step-2", "best-1", ".step-3.tmp"):
        write_folder(tmp_path / name, {"a.safetensors": {"x": torch.zeros(1)}}, {})
    keep_only(tmp_path, {"step-2", "best-1"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-1", "step-2"]
