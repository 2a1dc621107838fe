"""LoRA: its scale by hand, what is written, and what a plan is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.shape import read_shape
from adapterworks.manifests.models import ServeTable
from adapterworks.manifests.train_table import TrainTable
from tests.builders.build_support import manifest_for
from tests.builders.methods.made import SMALL, convert, manifest_of, products, write_adapter

MODULE = "model.layers.0.self_attn.q_proj"
# Rank 4, hidden 4: B·A is [[1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, -4]].
A = torch.tensor([[1.0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 4], [1, 1, 1, 1]])
B = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0]])
PRODUCT = np.array([[1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, -4]], np.float64)


def source(folder: Path, a: torch.Tensor, b: torch.Tensor, alpha: int, **method: Any) -> Source:
    """An adapter of one module."""
    kind = method.pop("kind", "lora")
    manifest = manifest_of(kind, rank=len(a), alpha=alpha, **method)
    tensors = {f"{MODULE}.lora_A.weight": a, f"{MODULE}.lora_B.weight": b}
    configuration = {"r": len(a), "lora_alpha": alpha, "use_rslora": method.get("rslora", False)}
    adapter = write_adapter(folder / "adapter", tensors, configuration)
    return Source(adapter, folder / "no-weights", SMALL, manifest)


@pytest.mark.parametrize(
    ("kind", "alpha", "rslora", "scale"),
    [
        ("lora", 6, False, 6 / 4),
        ("lora", 6, True, 6 / 2),  # √4
        ("lora", 1, False, 0.25),
        ("qlora", 6, True, 3.0),
    ],
)
def test_the_scale_is_folded_into_what_is_padded(
    tmp_path: Path, kind: str, alpha: int, rslora: bool, scale: float
) -> None:
    made = source(tmp_path, A, B, alpha, kind=kind, rslora=rslora)
    done = convert(made, tmp_path / "servable")
    assert (done.servable.form, done.servable.origin) == ("lora", "exact")
    assert (done.servable.rank, done.servable.error) == (8, 0.0)
    assert done.servable.target_modules == ("q_proj",)
    found = products(tmp_path / "servable")
    assert list(found) == [MODULE]
    np.testing.assert_allclose(found[MODULE].numpy(), scale * PRODUCT, rtol=1e-7)
    # A stays as it was trained: the scale goes into B.
    tensors = load_file(tmp_path / "servable" / "adapter_model.safetensors")
    assert torch.equal(tensors[f"base_model.model.{MODULE}.lora_A.weight"][:4], A)


@pytest.mark.parametrize("rslora", [False, True])
def test_at_a_rank_the_engine_allows_the_files_are_pefts_own(tmp_path: Path, rslora: bool) -> None:
    made = source(tmp_path, torch.ones(8, 4), torch.ones(4, 8), 24, rslora=rslora)
    done = convert(made, tmp_path / "deep" / "servable")
    assert (done.servable.origin, done.servable.rank, done.servable.error) == ("native", 8, 0.0)
    assert done.servable.target_modules == ("q_proj",)
    names = sorted(path.name for path in made.adapter.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "deep" / "servable").iterdir())
    for name in names:
        ours = (tmp_path / "deep" / "servable" / name).read_bytes()
        assert ours == (made.adapter / name).read_bytes()


def table(**method: Any) -> Any:
    return manifest_of("lora", **method).method


def test_an_untrained_adapter_is_the_base_and_is_configured_as_declared(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([[0, 17, 42]])
    model: Any = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        before = model(ids).logits
    declared = table(
        rank=4, alpha=12, dropout=0.25, target_modules=["q_proj", "up_proj"], rslora=True
    )
    adapted: Any = METHODS["lora"].attach(model, declared, steps=1).eval()
    config = adapted.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 12, 0.25)
    assert (config.use_rslora, config.use_dora, config.bias) == (True, False, "none")
    assert set(config.target_modules) == {"q_proj", "up_proj"}
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == METHODS["lora"].trainable(read_shape(tiny), declared)
    with torch.no_grad():
        assert torch.equal(adapted(ids).logits, before)


def test_alpha_is_twice_the_rank_if_not_given(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    for method, alpha in (({"rank": 6}, 12), ({"rank": 6, "alpha": 5}, 5)):
        model = AutoModelForCausalLM.from_pretrained(tiny)
        adapted: Any = METHODS["lora"].attach(model, table(**method), steps=1)
        assert adapted.peft_config["default"].lora_alpha == alpha


def test_parameters_are_counted_by_hand() -> None:
    # A layer: q 4 + 4, k 4 + 2, down 6 + 4; two layers.
    assert METHODS["lora"].trainable(SMALL, table(rank=3)) == 3 * 2 * (8 + 6 + 10)
    only = table(rank=3, target_modules=["k_proj"])
    assert METHODS["lora"].trainable(SMALL, only) == 3 * 2 * 6


def test_what_is_kept_for_the_backward_pass() -> None:
    # 4·hidden + 2·queries (2 heads of 2) + 3·keys (1 head of 2) + intermediate.
    inputs = 4 * 4 + 2 * 4 + 3 * 2 + 6
    lora = METHODS["lora"]
    # Three adapted linears a layer, A·x of rank 5 each; dropout keeps its own input.
    assert lora.kept(SMALL, table(rank=5), 4).layer == inputs + 3 * 5
    assert lora.kept(SMALL, table(rank=5, dropout=0.1), 4).layer == inputs + 3 * 5 * 2
    one = table(rank=5, target_modules=["q_proj"])
    assert lora.kept(SMALL, one, 4).layer == inputs + 5
    assert (lora.kept(SMALL, one, 4).once, lora.kept(SMALL, one, 4).prompt) == (0, 0)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"rank": 2, "alpha": 1}, []),  # 0.5
        ({"rank": 2, "alpha": 8}, []),  # 4
        ({"rank": 2, "alpha": 9}, ["method.alpha"]),
        ({"rank": 3, "alpha": 1, "target_modules": ["down_proj", "q_proj"]},
         ["method.alpha", "method.rank"]),
        ({"rank": 2, "alpha": 11, "rslora": True}, []),  # 8·√2 = 11.3
        ({"rank": 2, "alpha": 12, "rslora": True}, ["method.alpha"]),
        ({"rank": 1, "alpha": 8, "rslora": True}, []),  # 8·√1
        ({"rank": 1, "alpha": 9, "rslora": True}, ["method.alpha"]),
        ({"rank": 1, "target_modules": ["q_proj", "k_proj"]}, ["method.target_modules"]),
        ({"rank": 2, "target_modules": ["q_proj", "down_proj"]}, []),  # half of 4
        ({"rank": 2, "target_modules": ["k_proj", "down_proj"]}, ["method.rank"]),  # k_proj: 2
    ],
)  # fmt: skip
def test_unusual_choices_are_said(method: dict[str, Any], said: list[str]) -> None:
    if "target_modules" not in method:
        method = {**method, "target_modules": ["q_proj", "down_proj"]}
    lints = METHODS["lora"].lints(SMALL, table(**method))
    assert [lint.key for lint in lints] == said
    assert all(lint.source and lint.message for lint in lints)


def test_all_linear_is_no_choice_of_modules_and_the_numbers_are_said() -> None:
    (lint,) = METHODS["lora"].lints(SMALL, table(rank=1, alpha=7))
    assert "alpha/rank is 7" in lint.message
    (lint,) = METHODS["lora"].lints(
        SMALL, table(rank=2, alpha=20, rslora=True, target_modules=["down_proj"])
    )
    assert "14.1421" in lint.message


def test_large_batches_are_said() -> None:
    def said(batch: int) -> list[str]:
        train = TrainTable(batch_size=batch)
        return [lint.key for lint in METHODS["lora"].train_lints(train)]

    assert said(128) == []
    assert said(129) == ["train.batch_size"]


def test_sizes_keep_the_ratio_of_alpha_to_rank() -> None:
    sizes = list(METHODS["lora"].sizes(table(rank=16, alpha=8)))
    assert [s.rank for s in sizes] == list(range(1, 257))
    assert [sizes[i].alpha for i in (0, 2, 15, 255)] == [1, 2, 8, 128]  # 0.5 is at least 1
    default = list(METHODS["lora"].sizes(table(rank=16)))
    assert [default[i].alpha for i in (0, 255)] == [2, 512]


def test_lora_dora_and_qlora_adopt_each_others_tables() -> None:
    declared = {"rank": 5, "alpha": 7, "dropout": 0.1, "rslora": True}
    adopted: Any = METHODS["lora"].adopt(manifest_of("dora", **declared).method)
    assert adopted == table(**declared)
    assert adopted.kind == "lora"
    assert METHODS["qlora"].adopt(table(**declared)).kind == "qlora"  # type: ignore[union-attr]
    assert METHODS["lora"].adopt(manifest_of("adalora").method) is None
    own = manifest_of("adalora").method
    assert METHODS["adalora"].adopt(own) is own
    assert METHODS["adalora"].adopt(table()) is None


def test_a_plan_knows_the_served_form() -> None:
    form = METHODS["lora"].servable(SMALL, table(rank=9), ServeTable())
    assert (form.form, form.origin, form.rank) == ("lora", "native", 16)


def test_no_module_is_refused() -> None:
    check = METHODS["lora"].checks[0]
    manifest = manifest_for("lora")
    assert list(check.find(manifest, {})) == []
    empty = manifest.model_copy(
        update={"method": manifest.method.model_copy(update={"target_modules": ()})}
    )
    (problem,) = check.find(empty, {})
    assert problem.key == ("method", "target_modules")
    assert json.dumps(problem.message)
