"""DoRA's fold by NumPy in float64: m·(W + s·B·A)/‖W + s·B·A‖ − W, a norm an output row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.dora import dora_rank
from adapterworks.manifests.models import ServeTable
from tests.builders.methods.made import SMALL, convert, draw, manifest_of, products, write_adapter

QUERY, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(folder: Path, *, rslora: bool, named: str, serve: int | None = None) -> Source:
    """Adapters of rank 2 on two modules; magnitudes that are not the base's norms."""
    folder.mkdir()
    weights = {f"{QUERY}.weight": drawn(4, 4, seed=1), f"{DOWN}.weight": drawn(4, 6, seed=2)}
    save_file(weights, folder / "model.safetensors")
    tensors: dict[str, torch.Tensor] = {}
    for seed, (module, inputs) in enumerate(((QUERY, 4), (DOWN, 6))):
        tensors[f"{module}.lora_A.weight"] = drawn(2, inputs, seed=10 + seed)
        tensors[f"{module}.lora_B.weight"] = drawn(4, 2, seed=20 + seed)
        tensors[f"{module}.lora_magnitude_vector{named}"] = 1 + drawn(4, seed=30 + seed).abs()
    configuration = {"r": 2, "lora_alpha": 6, "use_rslora": rslora}
    adapter = write_adapter(folder / "adapter", tensors, configuration)
    manifest = manifest_of("dora", rank=2, alpha=6, rslora=rslora, serve={"conversion_rank": serve})
    return Source(adapter, folder, SMALL, manifest)


def expected(source: Source, module: str, scale: float) -> np.ndarray[Any, Any]:
    from safetensors.numpy import load_file

    weight = load_file(source.served / "model.safetensors")[f"{module}.weight"].astype(np.float64)
    trained = load_file(source.adapter / "adapter_model.safetensors")
    own = {
        name.split(f"{module}.")[1]: tensor.astype(np.float64)
        for name, tensor in trained.items()
        if f"{module}." in name
    }
    directed = weight + scale * own["lora_B.weight"] @ own["lora_A.weight"]
    (magnitude,) = (tensor for name, tensor in own.items() if "magnitude" in name)
    rows = [
        magnitude[row] * directed[row] / np.sqrt((directed[row] ** 2).sum()) - weight[row]
        for row in range(len(weight))
    ]
    return np.array(rows)


# PEFT writes the magnitude with and without `.weight`, by version.
@pytest.mark.parametrize("named", ["", ".weight"])
@pytest.mark.parametrize(("rslora", "scale"), [(False, 3.0), (True, 6 / 2**0.5)])
def test_magnitudes_are_folded_in(tmp_path: Path, rslora: bool, scale: float, named: str) -> None:
    source = made(tmp_path / "made", rslora=rslora, named=named)
    done = convert(source, tmp_path / "servable")
    found = products(tmp_path / "servable")
    assert set(found) == {QUERY, DOWN}
    for module, product in found.items():
        np.testing.assert_allclose(product.numpy(), expected(source, module, scale), atol=2e-6)
    # 2·2 is a rank the engine pads to 8; these modules have no more than 4.
    assert (done.servable.rank, done.servable.origin) == (8, "approximate")
    assert done.servable.error < 1e-6


def test_it_is_cut_at_the_rank_the_manifest_names(tmp_path: Path) -> None:
    source = made(tmp_path / "made", rslora=False, named="", serve=1)
    done = convert(source, tmp_path / "servable")
    lost = whole = 0.0
    for module, product in products(tmp_path / "servable").items():
        delta = expected(source, module, 3.0)
        rest = np.linalg.svd(delta, compute_uv=False)[1:]
        assert done.modules[module] == pytest.approx(
            np.sqrt((rest**2).sum() / (delta**2).sum()), rel=1e-4
        )
        lost += float(((delta - product.numpy()) ** 2).sum())
        whole += float((delta**2).sum())
    assert done.servable.rank == 1
    assert done.servable.error == pytest.approx((lost / whole) ** 0.5, rel=1e-4)


def test_an_untrained_adapter_changes_nothing(tiny: Path, tmp_path: Path) -> None:
    """Magnitudes start as the rows' norms: the fold gives back the base's weights."""
    drawn_one = draw("dora", tiny, tmp_path, spread=0.0, rank=4)
    convert(drawn_one.source, tmp_path / "servable")
    for product in products(tmp_path / "servable").values():
        assert float(product.abs().max()) < 1e-6


def test_twice_loras_rank_up_to_the_engines_largest() -> None:
    assert [dora_rank(rank) for rank in (1, 4, 5, 8, 33, 128, 256, 300)] == [
        8, 8, 16, 16, 128, 256, 512, 512,
    ]  # fmt: skip


def test_what_a_plan_is_told() -> None:
    dora, table = METHODS["dora"], manifest_of("dora", rank=3).method
    # LoRA's, and a magnitude an output feature: 4 + 2 + 4 in each of two layers.
    assert dora.trainable(SMALL, table) == 3 * 2 * (8 + 6 + 10) + 2 * (4 + 2 + 4)
    form = dora.servable(SMALL, table, ServeTable())
    assert (form.origin, form.rank) == ("approximate", 8)
    assert dora.servable(SMALL, table, ServeTable(conversion_rank=9)).rank == 16
    kept, lora = dora.kept(SMALL, table, 4), METHODS["lora"].kept(SMALL, table, 4)
    # Twice the largest weight (4 × 6), and half of all: 2·(16 + 8 + 24) numbers of 4 bytes.
    assert kept.once == 2 * 24 * 4 + 96 * 4 // 2
    assert kept.layer == lora.layer
    assert dora.kept(SMALL, table, 2).once == 2 * 24 * 2 + 96 * 2 // 2


def test_it_is_attached_as_dora(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    adapted: Any = METHODS["dora"].attach(model, manifest_of("dora", rank=4).method, steps=1)
    assert adapted.peft_config["default"].use_dora
