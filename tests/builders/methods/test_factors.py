"""LoRA factors against NumPy's SVD in float64: cutting, errors, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.methods.factors import (
    Factors,
    cut,
    energies,
    leaves,
    read_adapter,
    read_weights,
    relative_error,
    write_cut,
    write_lora,
)
from tests.builders.methods.made import PREFIX, products


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_svd(delta: torch.Tensor, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best approximation of a rank, and all singular values."""
    u, values, v = np.linalg.svd(delta.double().numpy(), full_matrices=False)
    return (u[:, :rank] * values[:rank]) @ v[:rank], values


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (12, 12)])
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_a_cut_is_the_truncated_svd(shape: tuple[int, int], rank: int) -> None:
    delta = drawn(*shape)
    factors = cut(delta, rank)
    best, values = by_svd(delta, rank)
    assert factors.rank == rank
    assert factors.a.shape == (rank, shape[1])
    assert factors.b.shape == (shape[0], rank)
    assert factors.a.dtype == factors.b.dtype == torch.float32
    assert factors.a.is_contiguous()
    assert factors.b.is_contiguous()
    product = factors.b.double() @ factors.a.double()
    np.testing.assert_allclose(product.numpy(), best, rtol=0, atol=1e-5)
    # Each factor has the square root of the singular values: neither overflows in half precision.
    for norms in (factors.b.norm(dim=0), factors.a.norm(dim=1)):
        np.testing.assert_allclose(norms.numpy(), values[:rank] ** 0.5, rtol=1e-4)


def test_the_error_of_a_cut_is_what_the_left_out_singular_values_have() -> None:
    for shape in ((24, 40), (40, 24)):
        delta = drawn(*shape)
        values = by_svd(delta, 5)[1]
        left_out = float(np.sqrt((values[5:] ** 2).sum() / (values**2).sum()))
        assert relative_error({"m": delta}, {"m": cut(delta, 5)}) == pytest.approx(left_out, 1e-5)


def test_a_delta_of_lower_rank_is_cut_without_loss_and_without_infinities() -> None:
    low = drawn(12, 2) @ drawn(2, 20, seed=1)
    factors = cut(low, 8)
    assert factors.a.isfinite().all()
    assert factors.b.isfinite().all()
    torch.testing.assert_close(factors.b @ factors.a, low, rtol=0, atol=1e-5)
    nothing = cut(torch.zeros(4, 6), 2)
    assert not (nothing.b @ nothing.a).any()


@pytest.mark.parametrize("shape", [(7, 11), (11, 7), (7, 7)])
def test_energies_are_squared_singular_values_largest_first(shape: tuple[int, int]) -> None:
    delta = drawn(*shape)
    found = energies(delta)
    assert found.shape == (7,)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), by_svd(delta, 1)[1] ** 2, rtol=1e-9)
    # Rounding makes small ones negative, whose root would be NaN.
    assert (energies(drawn(30, 1) @ drawn(1, 30)) >= 0).all()


def test_a_relative_error_is_one_over_all_modules_together() -> None:
    deltas = {"x": torch.tensor([[3.0, 0.0]]), "y": torch.tensor([[0.0, 4.0]])}
    kept = {"x": Factors(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0]]))}
    lost = {"y": Factors(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0]]))}
    # Lost: 0 + 3² of 3² + 4².
    assert relative_error(deltas, kept | lost) == pytest.approx(3 / 5)
    assert relative_error({"x": torch.zeros(1, 2)}, kept) == 0.0
    assert relative_error({"x": deltas["x"]}, kept) == 0.0


def test_what_is_cut_and_written_states_its_own_errors(tmp_path: Path) -> None:
    # Diagonals: singular values 3, 2, 1 and 5, 1; at rank 1 the rest is lost.
    first, second = torch.zeros(3, 4), torch.zeros(2, 3)
    first[0, 0], first[1, 1], first[2, 2] = 3, 2, 1
    second[0, 1], second[1, 0] = 5, 1
    deltas = [("layers.0.q_proj", first), ("layers.1.v_proj", second)]
    written = write_cut(tmp_path / "one", deltas, 1, "some/base")
    assert written.servable.form == "lora"
    assert written.servable.origin == "approximate"
    assert written.servable.rank == 1
    assert written.servable.target_modules == ("q_proj", "v_proj")
    assert written.modules["layers.0.q_proj"] == pytest.approx((5 / 14) ** 0.5)
    assert written.modules["layers.1.v_proj"] == pytest.approx((1 / 26) ** 0.5)
    assert written.servable.error == pytest.approx((6 / 40) ** 0.5)
    found = products(tmp_path / "one")
    assert float(found["layers.0.q_proj"][0, 0]) == pytest.approx(3)
    assert float(found["layers.0.q_proj"].abs().sum()) == pytest.approx(3)
    assert float(found["layers.1.v_proj"].abs().sum()) == pytest.approx(5)
    # More ranks than the smaller module has: that one is exact, and the other is cut at its rank.
    whole = write_cut(tmp_path / "all", deltas, 3, "some/base")
    assert whole.servable.error < 1e-6
    assert whole.servable.rank == 8
    for name, delta in deltas:
        found = products(tmp_path / "all")
        np.testing.assert_allclose(found[name].numpy(), delta.numpy(), atol=1e-6)
    nothing = write_cut(tmp_path / "none", [("m.q_proj", torch.zeros(2, 2))], 1, "b")
    assert nothing.servable.error == 0.0


def test_a_written_folder_has_scale_one_and_its_ranks_padded_with_zeros(tmp_path: Path) -> None:
    small = Factors(drawn(2, 5), drawn(4, 2, seed=1))
    large = Factors(drawn(9, 5, seed=2), drawn(4, 9, seed=3))
    factors = {"model.layers.0.mlp.up_proj": small, "model.layers.0.self_attn.q_proj": large}
    assert write_lora(tmp_path / "deep" / "lora", factors, "hub:acme/base-7b@1") == 16
    tensors = load_file(tmp_path / "deep" / "lora" / "adapter_model.safetensors")
    for module, entry in factors.items():
        a = tensors.pop(f"{PREFIX}{module}.lora_A.weight")
        b = tensors.pop(f"{PREFIX}{module}.lora_B.weight")
        assert (a.shape, b.shape) == ((16, 5), (4, 16))
        assert torch.equal(a[: entry.rank], entry.a)
        assert torch.equal(b[:, : entry.rank], entry.b)
        assert not a[entry.rank :].any()
        assert not b[:, entry.rank :].any()
    assert not tensors
    configuration = json.loads((tmp_path / "deep" / "lora" / "adapter_config.json").read_text())
    assert configuration == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "acme/base-7b",
        "r": 16,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
        "target_modules": ["q_proj", "up_proj"],
    }


def test_leaves_are_the_last_parts_each_once() -> None:
    assert leaves(["a.b.v_proj", "a.c.q_proj", "x.v_proj", "lone"]) == ["lone", "q_proj", "v_proj"]


def test_an_adapter_is_read_without_pefts_prefix(tmp_path: Path) -> None:
    write_lora(tmp_path, {"m.q_proj": Factors(drawn(1, 2), drawn(2, 1))}, "b")
    tensors, configuration = read_adapter(tmp_path)
    assert set(tensors) == {"m.q_proj.lora_A.weight", "m.q_proj.lora_B.weight"}
    assert configuration["r"] == 1


def test_all_files_of_a_checkpoint_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "model-00002-of-00002.safetensors")
    assert {name: len(tensor) for name, tensor in read_weights(tmp_path).items()} == {
        "a": 1,
        "b": 2,
    }
