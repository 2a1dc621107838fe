"""A merged release answers as PEFT's own `add_weighted_adapter` does, for every rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.merging.combine import combine, read_lora
from adapterworks.builders.merging.rules import RULES
from adapterworks.builders.merging.rules.recipe import Recipe
from tests.builders.merging.conftest import IDS, Shelf, make_lora, make_shelf

WEIGHTS = [0.7, -0.4]


def peft_answers(
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    recipe: Recipe,
    refs: tuple[str, str] = ("one@1", "two@1"),
) -> torch.Tensor:
    """The log-probabilities that PEFT's merge gives."""
    folders = [
        shelf.registry.checkout(shelf.registry.resolve(ref).digest, "servable") for ref in refs
    ]
    base = AutoModelForCausalLM.from_pretrained(shelf.base.served, dtype=torch.float32)
    model: Any = PeftModel.from_pretrained(base, folders[0], "one")
    model.load_adapter(folders[1], "two")
    # PEFT draws DARE's masks from the global generator, right after it has frozen the new adapter.
    monkeypatch.setattr(
        "peft.tuners.lora.model._freeze_adapter",
        lambda model, name: torch.manual_seed(recipe.seed or 0),
    )
    model.add_weighted_adapter(
        ["one", "two"],
        WEIGHTS,
        "merged",
        combination_type=recipe.method,
        density=recipe.density,
        svd_rank=recipe.rank,
    )
    model.set_adapter("merged")
    with torch.no_grad():
        answer: torch.Tensor = model.eval()(torch.tensor([IDS])).logits[0].log_softmax(-1)
    return answer


@pytest.mark.parametrize("method", RULES)
def test_every_rule_gives_what_peft_gives(
    method: str, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = make_shelf(tmp_path, tiny)
    rule = RULES[method]
    # Drawn masks are compared on one module a layer, where PEFT's order of modules is ours.
    modules = ["q_proj"] if rule.random else ["q_proj", "v_proj"]
    others = ["q_proj"] if rule.random else ["q_proj", "down_proj"]
    shelf.publish("one", 1, target_modules=modules, lora_alpha=64)
    shelf.publish("two", 2, target_modules=others, lora_alpha=16, use_rslora=True)
    recipe = Recipe(
        method,
        density=0.4 if rule.prunes else None,
        seed=7 if rule.random else None,
        rank=8 if rule.space == "deltas" else None,
    )
    merged = shelf.merge(
        "one@1",
        "two@1",
        method=method,
        weights=WEIGHTS,
        density=recipe.density,
        seed=recipe.seed,
        rank=recipe.rank,
    )
    expected = peft_answers(shelf, monkeypatch, recipe)
    base = ServedModel(shelf.base.served).log_probabilities(IDS)
    assert float((expected - base).abs().max()) > 0.05, "the merge changes nothing"
    torch.testing.assert_close(shelf.answers(merged), expected, rtol=0, atol=1e-4)


def test_cat_is_the_sum_and_svd_at_full_rank_too(tmp_path: Path, tiny: Path) -> None:
    adapters = [
        read_lora(make_lora(tmp_path / "one", tiny, 1)),
        read_lora(make_lora(tmp_path / "two", tiny, 2, r=16, target_modules=["q_proj"])),
    ]
    module = "model.layers.1.self_attn.q_proj"
    expected = 0.5 * adapters[0][module].delta - 2 * adapters[1][module].delta
    for recipe in (Recipe("cat"), Recipe("svd", rank=32)):
        combined = combine(adapters, [0.5, -2.0], recipe)
        factors = combined.factors[module]
        assert factors.rank <= 32
        torch.testing.assert_close(factors.b @ factors.a, expected, rtol=0, atol=1e-5)
        assert combined.error is not None
        assert combined.error < 1e-6
        assert combined.from_sum < 1e-6


def test_the_error_is_that_of_the_numbers_written(tmp_path: Path, tiny: Path) -> None:
    adapters = [read_lora(make_lora(tmp_path / str(seed), tiny, seed)) for seed in (1, 2)]
    weights = [1.0, 1.0]
    coarse, fine = (combine(adapters, weights, Recipe("svd", rank=rank)) for rank in (1, 8))
    assert coarse.error is not None
    assert fine.error is not None
    assert 0 < fine.error < coarse.error < 1
    assert coarse.error == coarse.from_sum
    lost = whole = 0.0
    for module, factors in coarse.factors.items():
        total = sum(adapter[module].delta for adapter in adapters)
        lost += float((total - factors.b @ factors.a).square().sum())
        whole += float(total.square().sum())
    assert coarse.error == pytest.approx((lost / whole) ** 0.5, rel=1e-4)
    # Averaging factors leaves cross terms; pruned factors stand for no delta of their own.
    rough = combine(adapters, weights, Recipe("linear"))
    assert rough.error is not None
    assert rough.error > 0.5
    pruned = combine(adapters, weights, Recipe("ties", density=0.5))
    assert pruned.error is None
    assert pruned.from_sum > 0.1


def test_a_scale_is_read_as_peft_reads_it(tmp_path: Path, tiny: Path) -> None:
    pattern = {"layers.1.self_attn.q_proj": 64}
    folder = make_lora(tmp_path / "one", tiny, 1, r=4, use_rslora=True, alpha_pattern=pattern)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    model: Any = PeftModel.from_pretrained(base, folder)
    for module, scaled in read_lora(folder).items():
        layer = model.base_model.model.get_submodule(module)
        torch.testing.assert_close(scaled.delta, layer.get_delta_weight("default"))


def test_which_rules_draw_and_which_prune() -> None:
    drawn = {"dare_linear", "dare_linear_svd", "dare_ties", "dare_ties_svd"}
    pruned = {"magnitude_prune", "magnitude_prune_svd", "ties", "ties_svd"}
    assert {rule.name for rule in RULES.values() if rule.random} == drawn
    assert {rule.name for rule in RULES.values() if rule.prunes} == drawn | pruned
