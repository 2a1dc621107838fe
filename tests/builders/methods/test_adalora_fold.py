"""AdaLoRA: its schedule and fold by hand, its penalty by NumPy, what a resumed training needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.adalora import Adalora, schedule
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.methods.shape import read_shape
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.models import ServeTable
from adapterworks.manifests.train_table import TrainTable
from tests.builders.build_support import manifest_for
from tests.builders.methods.made import SMALL, convert, manifest_of, products, write_adapter

QUERY, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"


def adalora() -> Adalora:
    found = METHODS["adalora"]
    assert isinstance(found, Adalora)
    return found


def table(**method: Any) -> Any:
    return manifest_of("adalora", **method).method


def source(
    folder: Path, diagonals: dict[str, list[float]], *, init_r: int, alpha: int
) -> tuple[Source, dict[str, torch.Tensor]]:
    """Drawn factors with these singular values, on modules [4, 4] and [4, 6]."""
    generator = torch.Generator().manual_seed(4)
    tensors = {}
    for module, diagonal in diagonals.items():
        inputs = 6 if module == DOWN else 4
        tensors[f"{module}.lora_A"] = torch.randn(len(diagonal), inputs, generator=generator)
        tensors[f"{module}.lora_B"] = torch.randn(4, len(diagonal), generator=generator)
        tensors[f"{module}.lora_E"] = torch.tensor(diagonal)[:, None]
    configuration = {"r": 2, "init_r": init_r, "target_r": 2, "lora_alpha": alpha}
    adapter = write_adapter(folder / "adapter", tensors, configuration)
    manifest = manifest_of("adalora", rank=1, initial_rank=init_r)
    return Source(adapter, folder / "no-weights", SMALL, manifest), tensors


def test_the_diagonal_and_pefts_own_scale_are_folded_in(tmp_path: Path) -> None:
    """PEFT scales by α/(r + 1e-5): at initial rank 1 that is one part in 100 000."""
    made, tensors = source(tmp_path, {QUERY: [0.5], DOWN: [-2.0]}, init_r=1, alpha=3)
    done = convert(made, tmp_path / "servable")
    for module, product in products(tmp_path / "servable").items():
        parts = {kind: tensors[f"{module}.lora_{kind}"].double().numpy() for kind in "ABE"}
        expected = 3 / (1 + 1e-5) * parts["B"] @ np.diag(parts["E"][:, 0]) @ parts["A"]
        np.testing.assert_allclose(product.numpy(), expected, rtol=5e-7)
    assert (done.servable.origin, done.servable.rank, done.servable.error) == ("exact", 1, 0.0)
    assert done.servable.target_modules == ("down_proj", "q_proj")


def test_a_training_begins_with_an_adapter_that_changes_nothing(tmp_path: Path) -> None:
    """Its diagonal is zero then; an engine that samples for it loads zeros, and a release of them
    is refused."""
    made, _ = source(tmp_path, {QUERY: [0.0] * 4, DOWN: [0.0] * 4}, init_r=4, alpha=8)
    with pytest.raises(Refused, match="pruned every rank"):
        convert(made, tmp_path / "servable")
    done = convert(replace(made, goes_on=True), tmp_path / "servable")
    assert done.servable.rank == 1
    assert not any(product.any() for product in products(tmp_path / "servable").values())


def test_pruned_triplets_are_dropped_and_the_others_stay_with_their_own(tmp_path: Path) -> None:
    diagonals = {QUERY: [0.0] * 12, DOWN: [0.0, 1.5, 0.0, -0.25] + [0.0] * 8}
    made, tensors = source(tmp_path, diagonals, init_r=12, alpha=16)
    done = convert(made, tmp_path / "servable")
    # Two are left of twelve; the engine's next rank is 8. A module without any is written as zeros.
    assert done.servable.rank == 8
    found = products(tmp_path / "servable")
    assert not found[QUERY].any()
    a, b = (tensors[f"{DOWN}.lora_{kind}"].double().numpy() for kind in "AB")
    expected = 16 / 12.00001 * (1.5 * np.outer(b[:, 1], a[1]) - 0.25 * np.outer(b[:, 3], a[3]))
    np.testing.assert_allclose(found[DOWN].numpy(), expected, rtol=1e-5, atol=1e-7)


def test_what_was_pruned_altogether_is_refused(tmp_path: Path) -> None:
    made, _ = source(tmp_path, {QUERY: [0.0, 0.0], DOWN: [0.0, 0.0]}, init_r=2, alpha=4)
    with pytest.raises(Refused, match="pruned every rank") as caught:
        convert(made, tmp_path / "servable")
    assert caught.value.hint
    assert not (tmp_path / "servable").exists()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, (20, 30, 5)),  # a fifth of warm-up, three tenths final, a pruning every 5 steps
        (10, (2, 3, 5)),
        (9, (1, 3, 5)),  # 1.8 is cut off, 2.7 rounded
        (8, (1, 2, 5)),
        (6, (1, 2, 3)),  # three steps are left to prune in
        (3, (0, 1, 2)),
        (2, (0, 1, 1)),  # a final step there is always
    ],
)
def test_steps_of_warm_up_pruning_and_end(steps: int, expected: tuple[int, int, int]) -> None:
    assert schedule(table(), steps) == expected
    assert adalora().best_from(table(), steps) == steps - expected[1]


def test_a_training_without_a_step_to_prune_in_is_refused() -> None:
    with pytest.raises(InvalidInput, match="1 steps, 0 of warm-up, 1 final"):
        schedule(table(), 1)
    assert schedule(table(warmup_share=0.5, final_share=0.4), 10) == (5, 4, 1)
    with pytest.raises(InvalidInput, match="10 steps, 5 of warm-up, 5 final"):
        schedule(table(warmup_share=0.5, final_share=0.49), 10)
    assert schedule(table(final_share=0.0), 10) == (2, 1, 5)


def attached(tiny: Path, steps: int = 20, **method: Any) -> Any:
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    return adalora().attach(model, table(**method), steps)


def test_it_is_configured_as_declared(tiny: Path) -> None:
    declared = table(
        rank=2, initial_rank=3, alpha=7, dropout=0.25, target_modules=["q_proj"],
        interval=4, orthogonality=0.125,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(tiny)
    adapted: Any = adalora().attach(model, declared, 40)
    config = adapted.peft_config["default"]
    assert (config.init_r, config.target_r, config.lora_alpha) == (3, 2, 7)
    assert (config.tinit, config.tfinal, config.deltaT, config.total_step) == (8, 12, 4, 40)
    assert (config.lora_dropout, config.orth_reg_weight) == (0.25, 0.125)
    assert set(config.target_modules) == {"q_proj"}
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trained == adalora().trainable(read_shape(tiny), declared)
    assert attached(tiny, rank=3).peft_config["default"].lora_alpha == 6  # twice the rank


def test_the_penalty_is_the_mean_distance_of_all_grams_from_one(tiny: Path) -> None:
    model = attached(tiny, rank=2, initial_rank=3, orthogonality=0.25, target_modules=["q_proj"])
    distances = []
    for name, parameter in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            p = parameter.detach().double().numpy()
            gram = p @ p.T if "lora_A" in name else p.T @ p
            assert gram.shape == (3, 3)
            distances.append(np.sqrt(((gram - np.eye(3)) ** 2).sum()))
    assert len(distances) == 4  # two layers, A and B
    penalty = adalora().extra_loss(model)
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(0.25 * np.mean(distances), rel=1e-5)
    assert penalty.requires_grad
    assert adalora().extra_loss(attached(tiny, orthogonality=0.0)) is None


def prune(model: Any, first: int, last: int) -> None:
    """Steps of an optimizer that only needs the gradients to be there."""
    generator = torch.Generator().manual_seed(first)
    for step in range(first, last + 1):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        adalora().before_zero_grad(model, step)


def left(model: Any) -> int:
    """Triplets that were not pruned."""
    return sum(int((p != 0).sum()) for name, p in model.named_parameters() if "lora_E" in name)


def fill(model: Any) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_E" in name:
                parameter.fill_(0.5)


def test_the_budget_falls_to_the_declared_average_rank(tiny: Path) -> None:
    model = attached(tiny, rank=2, initial_rank=4, target_modules=["q_proj", "v_proj"])
    fill(model)
    modules = 4  # two in each of two layers
    prune(model, 1, 4)  # 20 steps: four of warm-up
    assert left(model) == 4 * modules
    # Between steps 4 and 14 by the cube, at every fifth: 8 + 8·0.9³ = 13.8, then 8 + 8·0.4³ = 8.5.
    prune(model, 5, 9)
    assert left(model) == 13
    prune(model, 10, 16)
    assert left(model) == 2 * modules


def idle(model: Any, *steps: int) -> None:
    """Steps that learn nothing, as when every sampled group has equal rewards."""
    for step in steps:
        model.zero_grad(set_to_none=True)
        adalora().before_zero_grad(model, step)


def test_a_pruning_that_is_due_at_an_idle_step_is_made(tiny: Path) -> None:
    """10 steps: two of warm-up, three final; pruned at 5, and at 7 down to the budget."""
    model = attached(tiny, 10, rank=1, initial_rank=4, target_modules=["q_proj", "v_proj"])
    fill(model)
    prune(model, 1, 4)
    idle(model, 5)
    assert left(model) == int(4 + 12 * (1 - 3 / 5) ** 3) == 4
    fill(model)
    idle(model, 6)
    assert left(model) == 16, "nothing is due"
    idle(model, 7)
    assert left(model) == 4
    pattern = adalora().state(model)[1]["rank_pattern"]
    assert sum(sum(kept) for kept in pattern.values()) == 4
    prune(model, 8, 8)
    idle(model, 9)
    prune(model, 10, 10)
    assert left(model) == 4


def test_what_never_learnt_is_pruned_at_its_first_step(tiny: Path) -> None:
    """Nothing says what matters until then: also behind the step at which the budget is final."""
    model = attached(tiny, 10, rank=1, initial_rank=4, target_modules=["q_proj", "v_proj"])
    fill(model)
    idle(model, *range(1, 9))
    assert left(model) == 16
    assert adalora().state(model) == ({}, {"rank_pattern": None})
    prune(model, 9, 9)
    assert left(model) == 4
    fill(model)
    idle(model, 10)
    assert sum(map(sum, adalora().state(model)[1]["rank_pattern"].values())) == 4
    prune(model, 10, 10)
    assert left(model) == 4


def test_a_resumed_training_prunes_what_an_uninterrupted_one_would(tiny: Path) -> None:
    def fresh() -> Any:
        torch.manual_seed(0)
        model = attached(tiny, rank=1, initial_rank=4, target_modules=["q_proj", "v_proj"])
        fill(model)
        return model

    whole, begun, resumed = fresh(), fresh(), fresh()
    prune(whole, 1, 9)
    prune(whole, 10, 16)
    prune(begun, 1, 9)
    tensors, values = adalora().state(begun)
    assert {name.partition(".")[0] for name in tensors} == {"ipt", "exp_avg_ipt", "exp_avg_unc"}
    assert all(tensor.any() for tensor in tensors.values())
    resumed.load_state_dict(begun.state_dict())
    adalora().restore(resumed, tensors, values)
    assert adalora().state(resumed)[1] == values
    assert values["rank_pattern"] is not None
    prune(resumed, 10, 16)
    pairs = zip(whole.named_parameters(), resumed.named_parameters(), strict=True)
    for (name, expected), (_, found) in pairs:
        if "lora_E" in name:
            assert torch.equal(expected != 0, found != 0), name
    assert left(resumed) == 4


def test_what_is_saved_has_whole_factors(tiny: Path, tmp_path: Path) -> None:
    """And the training that goes on, as one that samples at every step, prunes by its pattern."""
    model = attached(tiny, rank=1, initial_rank=2, target_modules=["q_proj"])
    fill(model)
    prune(model, 1, 16)
    pattern = model.peft_config["default"].rank_pattern
    assert pattern
    adalora().save(model, tmp_path, "base")
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert not written.get("rank_pattern")
    assert model.peft_config["default"].rank_pattern is pattern
    prune(model, 17, 18)  # its last steps go by the pattern


def test_what_it_remembers_is_put_where_the_weights_are(tiny: Path) -> None:
    """A checkpoint is read to the CPU; gradients of a GPU are added to what it remembers."""
    model = attached(tiny, target_modules=["q_proj"])
    named = [(n, p) for n, p in model.base_model.model.named_parameters() if "lora_" in n]
    tensors = {
        f"{kind}.{n}": torch.ones(p.shape) for n, p in named for kind in ("ipt", "exp_avg_unc")
    }
    model.to("meta")
    adalora().restore(model, tensors, {"rank_pattern": None})
    found = adalora().state(model)[0]
    assert found.keys() == tensors.keys()
    assert {tensor.device.type for tensor in found.values()} == {"meta"}


def test_a_wrapped_model_is_looked_into(tiny: Path) -> None:
    """`accelerate` puts the model under `module`."""

    class Wrapped(torch.nn.Module):
        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

    model = Wrapped(attached(tiny, target_modules=["q_proj"]))
    assert adalora().extra_loss(model) is not None
    assert adalora().state(model)[1] == {"rank_pattern": None}


def test_what_a_plan_is_told() -> None:
    declared = table(rank=2, initial_rank=3)
    # A layer: q 4 + 4 + 1, k 4 + 2 + 1, down 6 + 4 + 1, from the initial rank.
    assert adalora().trainable(SMALL, declared) == 3 * 2 * (9 + 7 + 11)
    form = adalora().servable(SMALL, table(rank=8, initial_rank=9), ServeTable())
    assert (form.origin, form.rank) == ("exact", 16)
    inputs = 4 * 4 + 2 * 4 + 3 * 2 + 6
    assert adalora().kept(SMALL, declared, 4).layer == inputs + 3 * 3
    assert adalora().kept(SMALL, table(rank=2, initial_rank=3, dropout=0.1), 4).layer == (
        inputs + 2 * 3 * 3
    )
    assert [x.key for x in adalora().train_lints(TrainTable(batch_size=129))] == [
        "train.batch_size"
    ]


def test_sizes_start_half_as_high_again_as_they_end() -> None:
    sizes = list(adalora().sizes(table(alpha=5)))
    assert [size.initial_rank for size in sizes] == list(range(2, 257))
    assert [sizes[i].rank for i in (0, 1, 10, 254)] == [1, 2, 8, 171]
    assert all(size.rank < size.initial_rank for size in sizes), "PEFT fails with nothing to prune"
    assert {size.alpha for size in sizes} == {5}


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        ({"rank": 7, "initial_rank": 8}, []),
        ({"rank": 8, "initial_rank": 8}, ["rank"]),
        ({"rank": 9, "initial_rank": 8}, ["rank"]),
        ({"warmup_share": 0.5, "final_share": 0.5}, ["final_share"]),
        ({"warmup_share": 0.5, "final_share": 0.4}, []),
    ],
)
def test_what_cannot_prune_is_refused(method: dict[str, Any], keys: list[str]) -> None:
    check = adalora().checks[0]
    problems = list(check.find(manifest_for("adalora", method=method), {}))
    assert [problem.key for problem in problems] == [("method", key) for key in keys]
    assert check.reads == (("method",),)
