"""The model that is trained, and AdamW over it against its paper's formulas."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adapterworks.builders.training.model import (
    build_model,
    load_base,
    make_optimizer,
    save_adapter,
)
from adapterworks.manifests.errors import Refused
from tests.builders.build_support import TinyJob

Make = Callable[..., TinyJob]


def built(job: TinyJob) -> Any:
    return build_model(job.base, job.plan)


def batch() -> dict[str, torch.Tensor]:
    ids = torch.arange(2, 18).reshape(2, 8)
    return {"input_ids": ids, "labels": ids}


def plan_of(**train: Any) -> Any:
    table = {"weight_decay": 0.0, "optimizer": "adamw", **train}
    return SimpleNamespace(
        manifest=SimpleNamespace(
            train=SimpleNamespace(**table), method=SimpleNamespace(kind="full")
        ),
        learning_rate=0.01,
    )


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_is_that_of_its_paper(decay: float) -> None:
    """Loshchilov & Hutter 2019, algorithm 2, three steps in float64: the decay is decoupled, of
    every trained parameter alike, vectors too."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    frozen = nn.Linear(2, 2).requires_grad_(False)
    optimizer = make_optimizer(nn.Sequential(model, frozen), plan_of(weight_decay=decay))
    ours = [p.detach().double().numpy().copy() for p in model.parameters()]
    kept = [p.clone() for p in frozen.parameters()]
    first, second = [np.zeros_like(p) for p in ours], [np.zeros_like(p) for p in ours]
    for t in range(1, 4):
        for i, parameter in enumerate(model.parameters()):
            gradient = np.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) * t
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
            ours[i] -= 0.01 * decay * ours[i]
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            m, v = first[i] / (1 - 0.9**t), second[i] / (1 - 0.999**t)
            ours[i] -= 0.01 * m / (np.sqrt(v) + 1e-8)
        optimizer.step()
    for parameter, expected in zip(model.parameters(), ours, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-5, atol=1e-7)
    for parameter, before in zip(frozen.parameters(), kept, strict=True):
        assert torch.equal(parameter, before)
    given = [p for group in optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in given] == [id(p) for p in model.parameters()]


def test_a_weight_without_a_gradient_only_decays() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = make_optimizer(model, plan_of(weight_decay=0.5))
    for _ in range(3):
        model.weight.grad = torch.zeros(1, 2)
        optimizer.step()
    assert model.weight.detach().tolist()[0] == pytest.approx([(1 - 0.01 * 0.5) ** 3] * 2)


def test_the_paged_optimizer_is_bitsandbytes_with_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It needs a GPU to run; what it is given does not."""
    given: list[Any] = []
    paged = SimpleNamespace(PagedAdamW8bit=lambda *args, **options: given.append((args, options)))
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=paged))
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    make_optimizer(model, plan_of(optimizer="paged-adamw-8bit", weight_decay=0.3))
    (((group,),), options) = given[0]
    parameters = group["params"]
    assert [id(p) for p in parameters] == [id(p) for p in model[0].parameters()]
    assert options == {"lr": 0.01, "weight_decay": 0.3}


def test_noise_is_neftunes_and_only_while_training(job: Make) -> None:
    """Jain et al. 2023, as transformers' `neftune_post_forward_hook` adds it."""
    planned = job("lora", neftune_alpha=5.0)
    model: Any = built(planned)
    embed = model.get_input_embeddings()
    ids = torch.arange(24).reshape(2, 12)
    plain = embed.weight[ids]
    torch.manual_seed(3)
    noisy = embed(ids)
    size = 5.0 / (12 * plain.shape[-1]) ** 0.5
    torch.manual_seed(3)
    theirs = plain + torch.zeros_like(plain).uniform_(-size, size)
    assert torch.equal(noisy, theirs)
    assert 0.9 * size < (noisy - plain).abs().max() <= size * 1.0001
    model.eval()
    assert torch.equal(model.get_input_embeddings()(ids), plain)
    assert planned.plan.shared_prefix == 0  # one noise for all rows would be another training


def test_the_manifests_weight_decay_and_rate_reach_the_optimizer(job: Make) -> None:
    planned = job("lora", weight_decay=0.07, learning_rate=3e-3)
    model = built(planned)
    optimizer = make_optimizer(model, planned.plan)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.07}
    assert {group["lr"] for group in optimizer.param_groups} == {3e-3}
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert len(optimizer.param_groups[0]["params"]) == len(names)
    assert all("lora_" in name for name in names)


def test_equal_plans_begin_with_equal_weights_and_other_seeds_do_not(job: Make) -> None:
    first, same, other = (
        built(job("lora", name, seed=seed)).state_dict()
        for name, seed in (("first", 5), ("same", 5), ("other", 6))
    )
    for name, tensor in first.items():
        assert torch.equal(tensor, same[name])
        if "lora_A" in name:
            assert not torch.equal(tensor, other[name])


def test_the_base_is_as_it_is_and_what_is_trained_is_float32(job: Make) -> None:
    """Adapter weights in bf16 would lose most of their small updates."""
    planned = job("lora", precision="bf16")
    assert planned.plan.precision == "bf16"
    model = built(planned)
    frozen = {p.dtype for p in model.parameters() if not p.requires_grad}
    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    assert (frozen, trained) == ({torch.bfloat16}, {torch.float32})
    assert all(module.training for module in model.modules())
    full = {p.dtype for p in built(job("full", "other", precision="bf16")).parameters()}
    assert full == {torch.float32}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_qlora_multiplies_in_the_plans_precision(job: Make, precision: str) -> None:
    """It was bf16 wherever there was a GPU, and float32 elsewhere, whatever the plan said."""
    expected = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = built(job("qlora", precision=precision))
    layers = [
        m for m in model.modules() if type(m).__name__ == "Linear4bit" and not list(m.children())
    ]
    assert len(layers) == 14
    for layer in layers:
        assert layer.compute_dtype == layer.weight.quant_state.dtype == expected
    norms = [p for name, p in model.named_parameters() if "norm" in name]
    assert {p.dtype for p in norms} == {expected}


def test_a_base_is_frozen_before_the_method_is_attached(job: Make) -> None:
    planned = job("lora")
    base = load_base(planned.base, planned.plan)
    assert not any(parameter.requires_grad for parameter in base.parameters())


def test_a_plan_that_counted_otherwise_is_not_trained(job: Make) -> None:
    planned = job("lora")
    with pytest.raises(Refused, match="planned 1 trained parameters"):
        built(planned.with_plan(trainable=1))


@pytest.mark.parametrize("kind", ["lora", "adalora", "dora", "qlora"])
def test_dropout_is_on_while_training_and_off_while_evaluating(job: Make, kind: str) -> None:
    model = built(job(kind, method={"dropout": 0.25}))
    adapted = [m for n, m in model.named_modules() if n.endswith("lora_dropout.default")]
    assert len(adapted) == 14, "seven linears in each of two layers"
    assert {(type(module), module.p) for module in adapted} == {(nn.Dropout, 0.25)}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_E" in name:  # they begin with 0, which hides the rest
                parameter.fill_(0.3)
        one, other = (model(**batch()).loss.item() for _ in range(2))
        model.eval()
        third, fourth = (model(**batch()).loss.item() for _ in range(2))
    assert one != other
    assert third == fourth
    without = built(job(kind, "without"))
    assert not [m for m in without.modules() if isinstance(m, nn.Dropout) and m.p]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_recomputed_if_that_is_asked_for(job: Make, checkpointing: bool) -> None:
    """Each layer's MLP runs once more in the backward pass, and the gradients are the same."""
    model = built(job("lora", gradient_checkpointing=checkpointing))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    calls = []
    for layer in model.base_model.model.model.layers:
        layer.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    loss = model(**batch(), use_cache=False).loss
    forward = len(calls)
    loss.backward()
    assert (forward, len(calls)) == (2, 4 if checkpointing else 2)
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    plain = built(job("lora", "plain"))
    plain.load_state_dict(model.state_dict())
    plain(**batch(), use_cache=False).loss.backward()
    for name, parameter in plain.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name
            torch.testing.assert_close(gradients[name], parameter.grad)


def test_what_is_saved_names_the_base_by_its_public_name(job: Make, tmp_path: Path) -> None:
    planned = job("lora")
    base = planned.plan.base.model_copy(update={"model": "/home/somebody/models/tiny"})
    folder = tmp_path / "adapter"
    model = built(planned)
    save_adapter(model, folder, planned.plan.model_copy(update={"base": base}))
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    text = (folder / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "tiny"
    assert "somebody" not in text
    assert text == json.dumps(config, indent=2, sort_keys=True) + "\n", "equal bytes every time"


def test_a_model_that_was_trained_whole_is_saved_whole(job: Make, tmp_path: Path) -> None:
    planned = job("full")
    save_adapter(built(planned), tmp_path / "full", planned.plan)
    assert (tmp_path / "full" / "model.safetensors").exists()
    assert not (tmp_path / "full" / "adapter_config.json").exists()


def test_the_method_is_told_before_it_is_saved(job: Make, tmp_path: Path) -> None:
    """AdaLoRA's pattern of ranks is not written: no loader has to resize modules by it."""
    planned = job("adalora", epochs=4.0)
    model = built(planned)
    model.peft_config["default"].rank_pattern = {"x": [True]}
    save_adapter(model, tmp_path / "adapter", planned.plan)
    assert (
        json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["rank_pattern"]
        is None
    )
