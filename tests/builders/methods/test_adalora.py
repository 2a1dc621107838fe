"""AdaLoRA: its penalty, its budget and its phases, by the paper's formulas."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adapterworks.builders.methods.adalora import ADALORA, AdaloraTable, schedule
from adapterworks.manifests.errors import InvalidInput
from tests.builders.build_support import TinyJob

TABLE = AdaloraTable(kind="adalora")


class Triplets(nn.Module):
    """P and Q of two modules, as PEFT names them."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        for name, rows, columns in (("q", 5, 4), ("up", 6, 3)):
            module = nn.Module()
            for part, shape in (
                ("lora_A", (2, columns)), ("lora_B", (rows, 2)), ("lora_E", (2, 1)),
            ):  # fmt: skip
                values = torch.randn(shape, generator=generator)
                setattr(module, part, nn.ParameterDict({"default": nn.Parameter(values)}))
            setattr(self, name, module)
        self.other = nn.Parameter(torch.ones(3, 3))
        self.peft_config = {"default": SimpleNamespace(orth_reg_weight=weight)}


def test_the_penalty_is_the_mean_distance_from_orthogonality() -> None:
    """‖PᵀP − I‖ and ‖QQᵀ − I‖ (Zhang et al. 2023, eq. 4) in Frobenius' norm, over P and Q alike."""
    model = Triplets(0.3)
    norms = []
    for module in (model.q, model.up):
        q = module.lora_A["default"].detach().double().numpy()
        p = module.lora_B["default"].detach().double().numpy()
        norms += [np.sqrt(((g - np.eye(2)) ** 2).sum()) for g in (q @ q.T, p.T @ p)]
    penalty = ADALORA.extra_loss(model)
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(0.3 * np.mean(norms), rel=1e-6)
    penalty.backward()
    assert model.q.lora_A["default"].grad is not None
    assert model.other.grad is None
    wrapped: Any = SimpleNamespace(module=model, named_parameters=model.named_parameters)
    assert float(ADALORA.extra_loss(wrapped).detach()) == float(penalty.detach())  # type: ignore[union-attr]


def test_orthonormal_factors_cost_nothing() -> None:
    model = Triplets(1.0)
    with torch.no_grad():
        for module in (model.q, model.up):
            module.lora_A["default"].copy_(torch.eye(2, module.lora_A["default"].shape[1]))
            module.lora_B["default"].copy_(torch.eye(module.lora_B["default"].shape[0], 2))
    assert float(ADALORA.extra_loss(model).detach()) == pytest.approx(0.0, abs=1e-7)  # type: ignore[union-attr]


def test_without_a_weight_or_without_factors_there_is_no_penalty() -> None:
    assert ADALORA.extra_loss(Triplets(0.0)) is None
    bare = Triplets(0.5)
    del bare.q, bare.up
    assert ADALORA.extra_loss(bare) is None


@pytest.mark.parametrize(
    ("steps", "changes", "expected"),
    [
        (20, {}, (4, 6, 5)),
        (9, {}, (1, 3, 5)),  # ⌊1.8⌋, 2.7 rounded
        (7, {}, (1, 2, 4)),  # four steps are left, so it prunes in the fourth
        (2, {}, (0, 1, 1)),
        (10, {"final_share": 0.0, "interval": 2}, (2, 1, 2)),  # one final step at least
    ],
)
def test_the_phases_of_a_training(
    steps: int, changes: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    table = TABLE.model_copy(update=changes)
    assert schedule(table, steps) == expected
    assert ADALORA.best_from(table, steps) == steps - expected[1]


def test_a_training_too_short_to_prune_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no step left to prune in: 1 steps, 0 of warm-up, 1"):
        schedule(TABLE, 1)


def test_the_budget_falls_by_the_papers_cube_and_only_then_a_step_is_best(
    job: Callable[..., TinyJob],
) -> None:
    """16 steps, 3 of warm-up, 5 final; b(t) = b₁ + (b₀ − b₁)(1 − (t − 3)/8)³ of 14 modules, from
    12 to 8 each, pruned in every fifth step. The loss is lowest where it does not count."""
    trainer = job("adalora", epochs=4.0, evaluations=16).trainer()
    step, ranks = trainer._step, list[int]()

    def counted(indices: list[int]) -> Any:
        taken = step(indices)
        named = trainer.bare.named_parameters()
        ranks.append(sum(int((p != 0).sum()) for n, p in named if "lora_E" in n))
        return taken

    trainer._step = counted  # type: ignore[method-assign]
    losses = iter([0.1] * 10 + [3.0, 2.0, 2.5, 2.6, 2.7, 2.8])
    trainer._validate = lambda: {"loss": next(losses)}  # type: ignore[method-assign]
    result = trainer.run()
    assert ranks[:4] == [14 * 12] * 4
    assert ranks[4] == int(14 * 8 + 14 * 4 * (1 - 2 / 8) ** 3) == 135
    assert ranks[9] == int(14 * 8 + 14 * 4 * (1 - 7 / 8) ** 3) == 112
    assert ranks[10:] == [14 * 8] * 6, "the budget is final"
    assert (result.best_step, result.best_value) == (12, 2.0)
    written = [t for name, t in trainer.bare.named_parameters() if "lora_E" in name]
    assert sum(int((tensor != 0).sum()) for tensor in written) == 14 * 8


def test_what_it_remembers_comes_back(job: Callable[..., TinyJob]) -> None:
    """Importance: a training that goes on prunes what it would have pruned."""
    trainer = job("adalora", epochs=4.0).trainer()
    trainer._finish = lambda: None  # type: ignore[assignment,method-assign,return-value]
    trainer.run(until=8)
    tensors, values = ADALORA.state(trainer.bare)
    assert {name.partition(".")[0] for name in tensors} == {"ipt", "exp_avg_ipt", "exp_avg_unc"}
    assert len(values["rank_pattern"]) == 14
    fresh = job("adalora", "fresh", epochs=4.0).trainer()
    assert ADALORA.state(fresh.bare) == ({}, {"rank_pattern": None})
    ADALORA.restore(fresh.bare, tensors, values)
    again, same = ADALORA.state(fresh.bare)
    assert same == values
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())
