"""Full fine-tuning as LoRA: the delta of every linear, its rank by energy, what is left out."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods import factors as factors_module
from adapterworks.builders.methods import full as full_module
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.full import ENERGY, MAX_RANK, _padded, _rank_by_energy
from adapterworks.builders.methods.linears import Linear
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import ServeTable
from tests.builders.methods.made import SMALL, convert, draw, manifest_of, products

ONE, TWO = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"
SHAPE = BaseShape(2, 16, 32, 2, 2, 8, 10, 64, (Linear(ONE, 16, 16), Linear(TWO, 16, 16)), 42)


def diagonal(values: list[float]) -> torch.Tensor:
    """A delta [16, 16] with these singular values."""
    return torch.diag(torch.tensor(values + [0.0] * (16 - len(values))))


def source(
    folder: Path,
    deltas: dict[str, torch.Tensor],
    others: dict[str, float] | None = None,
    rank: int | None = None,
) -> Source:
    """A base of ones, and a checkpoint that differs from it by these."""
    base = {f"{name}.weight": torch.ones(16, 16) for name in (ONE, TWO)}
    base |= {"model.embed_tokens.weight": torch.ones(10, 16), "model.norm.weight": torch.ones(16)}
    base["buffer"] = torch.ones(1)
    trained = {name: tensor.clone() for name, tensor in base.items()}
    for name, delta in deltas.items():
        trained[f"{name}.weight"] += delta
    for name, change in (others or {}).items():
        trained[name].flatten()[0] += change
    del trained["buffer"]
    for name, tensors in (("base", base), ("trained", trained)):
        (folder / name).mkdir()
        save_file(tensors, folder / name / "model.safetensors")
    manifest = manifest_of("full", serve={"conversion_rank": rank})
    return Source(folder / "trained", folder / "base", SHAPE, manifest)


def test_the_delta_is_cut_at_the_smallest_rank_that_keeps_nine_tenths(tmp_path: Path) -> None:
    # Energies 81 + 9 + 9 + 1 and 9: of 109 the first values have 90, 82 %; rank 8 has all.
    deltas = {ONE: diagonal([9, 3, 3, 1]), TWO: diagonal([3])}
    done = convert(source(tmp_path, deltas), tmp_path / "servable")
    assert (done.servable.form, done.servable.origin, done.servable.rank) == (
        "lora",
        "approximate",
        8,
    )
    assert done.servable.target_modules == ("q_proj",)
    assert done.servable.error < 1e-6
    found = products(tmp_path / "servable")
    for name, delta in deltas.items():
        torch.testing.assert_close(found[name].float(), delta, rtol=0, atol=1e-5)
    assert done.left_out == {}


def test_the_energy_is_that_of_all_linears_together(tmp_path: Path) -> None:
    # 100 + 9 at rank 1, of 100 + 9 + 1 + 1: 98 %, though alone the second had 9 of 10.
    deltas = {ONE: diagonal([10, 1]), TWO: diagonal([3, 1])}
    done = convert(source(tmp_path, deltas), tmp_path / "servable")
    assert done.servable.rank == 1
    assert done.servable.error == pytest.approx((2 / 111) ** 0.5, rel=1e-5)
    assert done.modules[ONE] == pytest.approx((1 / 101) ** 0.5, rel=1e-5)
    assert done.modules[TWO] == pytest.approx((1 / 10) ** 0.5, rel=1e-5)


def test_the_manifests_rank_goes_before_the_energy(tmp_path: Path) -> None:
    deltas = {ONE: diagonal([3, 2, 1]), TWO: diagonal([1])}
    done = convert(source(tmp_path, deltas, rank=2), tmp_path / "servable")
    assert done.servable.rank == 8  # padded
    assert done.servable.error == pytest.approx((1 / 15) ** 0.5, rel=1e-5)
    assert done.modules == {ONE: pytest.approx((1 / 14) ** 0.5, rel=1e-5), TWO: pytest.approx(0)}


def test_what_lora_cannot_carry_is_named_with_its_size(tmp_path: Path) -> None:
    changes = {"model.embed_tokens.weight": -3.0, "model.norm.weight": 0.5}
    made = source(tmp_path, {ONE: diagonal([4]), TWO: diagonal([3])}, changes)
    done = convert(made, tmp_path / "servable")
    # Relative to the linears' ‖Δ‖ = 5.
    assert done.left_out == {
        "model.embed_tokens.weight": pytest.approx(0.6),
        "model.norm.weight": pytest.approx(0.1),
    }
    assert set(products(tmp_path / "servable")) == {ONE, TWO}
    # A linear that was not trained has no error of its own.
    (tmp_path / "other").mkdir()
    done = convert(source(tmp_path / "other", {ONE: diagonal([4])}), tmp_path / "servable-2")
    assert done.modules[TWO] == 0.0
    assert done.servable.rank == 1


def test_a_training_that_changed_no_linear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="changed no linear layer"):
        convert(source(tmp_path, {}, {"model.norm.weight": 1.0}), tmp_path / "servable")


def test_one_delta_is_there_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them together are as large as the model: 34B would need 136 GB beside what is read."""
    seen: list[weakref.ref[torch.Tensor]] = []

    def watched(make: Any) -> Any:
        def call(delta: torch.Tensor, *rest: Any) -> Any:
            alive = [found for one in seen if (found := one()) is not None and found is not delta]
            assert alive == []
            seen.append(weakref.ref(delta))
            return make(delta, *rest)

        return call

    monkeypatch.setattr(full_module, "energies", watched(full_module.energies))
    monkeypatch.setattr(factors_module, "cut", watched(factors_module.cut))
    convert(source(tmp_path, {ONE: diagonal([4]), TWO: diagonal([3])}), tmp_path / "servable")
    assert len(seen) == 4  # each for its energies, then to be cut


def test_a_rank_that_is_given_asks_for_no_energies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_module, "energies", None)
    made = source(tmp_path, {ONE: diagonal([4])}, rank=8)
    assert convert(made, tmp_path / "servable").servable.rank == 8


def test_the_rank_by_energy_is_one_of_the_engines_up_to_the_largest() -> None:
    assert (ENERGY, MAX_RANK) == (0.9, 256)

    def rank(shares: list[float]) -> int:
        return _rank_by_energy(_padded(torch.tensor(shares, dtype=torch.float64), MAX_RANK), 1.0)

    assert rank([0.9, 0.1]) == 1
    assert rank([0.89, 0.02, 0.09]) == 8
    assert rank([0.1125] * 8 + [0.1]) == 8  # the first eight have nine tenths
    assert rank([0.112] * 8 + [0.104]) == 16
    assert rank([0.007] * 129 + [0.097]) == 256  # 128 have 0.896
    assert rank([1 / 400] * 400) == 256  # none has enough: the largest


def test_spectra_are_padded_and_cut_to_one_length() -> None:
    assert _padded(torch.tensor([3.0, 2.0]), 4).tolist() == [3, 2, 0, 0]
    assert _padded(torch.tensor([3.0, 2.0, 1.0]), 2).tolist() == [3, 2]
    assert _padded(torch.tensor([1.0], dtype=torch.float64), 1).dtype == torch.float64


def test_a_cut_at_full_rank_is_the_trained_models_delta(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    drawn = draw("full", tiny, tmp_path, spread=0.01, serve={"conversion_rank": 64})
    done = convert(drawn.source, tmp_path / "servable")
    assert done.servable.error < 1e-5
    before = load_file(tiny / "model.safetensors")
    after = load_file(tmp_path / "adapter" / "model.safetensors")
    found = products(tmp_path / "servable")
    assert set(found) == {linear.name for linear in drawn.source.shape.linears}
    for name, product in found.items():
        wanted = after[f"{name}.weight"] - before[f"{name}.weight"]
        torch.testing.assert_close(product.float(), wanted, rtol=0, atol=1e-6)
    assert "model.embed_tokens.weight" in done.left_out


def test_all_is_trained_in_float32(tiny: Path) -> None:
    full, declared = METHODS["full"], manifest_of("full")
    model: Any = full.load(tiny, declared.base, torch.bfloat16, "cpu")
    assert model.dtype == torch.float32
    model.requires_grad_(False)
    attached = full.attach(model, declared.method, 1)
    assert attached is model
    assert all(parameter.requires_grad for parameter in attached.parameters())
    other: Any = METHODS["lora"].load(tiny, declared.base, torch.bfloat16, "cpu")
    assert other.dtype == torch.bfloat16


def test_what_a_plan_is_told() -> None:
    full, table = METHODS["full"], manifest_of("full").method
    total = 2 * (16 + 8 + 24) + 50
    assert full.trainable(SMALL, table) == total
    base = manifest_of("full").base
    assert full.weight_bytes(SMALL, base, width=2, trainable=total) == 4 * total
    assert full.release_bytes(SMALL, total) == 5 * total
    form = full.servable(SMALL, table, ServeTable())
    assert (form.rank, form.max_rank) == (None, 256)
    form = full.servable(SMALL, table, ServeTable(conversion_rank=16))
    assert (form.rank, form.max_rank) == (16, None)
    assert full.servable(SMALL, table, ServeTable(conversion_rank=17)).rank == 32
