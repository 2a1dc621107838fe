"""A base's own dropout: off where policies are compared, on where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from adapterworks.builders.methods.dropout import active_dropout, disable_dropout
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.plan import make_plan
from adapterworks.builders.training.model import build_model
from tests.builders.build_support import (
    ENVIRONMENT,
    MACHINE,
    encoded_rows,
    facts_of,
    identity,
    manifest_for,
)

SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 12, "n_head": 4, "n_layer": 2, "n_positions": 64},
    "opt": {
        "hidden_size": 12,
        "ffn_dim": 16,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "word_embed_proj_dim": 12,
        "attention_dropout": 0.3,
        "layerdrop": 0.3,
    },
    "bloom": {
        "hidden_size": 12,
        "n_head": 4,
        "n_layer": 2,
        "hidden_dropout": 0.1,
        "attention_dropout": 0.1,
    },
}
IDS = torch.arange(3, 23).reshape(2, 10)


def make(kind: str) -> Any:
    config = AutoConfig.for_model(
        kind, vocab_size=256, bos_token_id=0, eos_token_id=1, pad_token_id=1, **SMALL[kind]
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def answered(model: Any, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_nothing_of_a_base_is_drawn(kind: str) -> None:
    """Modules of dropout, and numbers that functions are given, layers that are left out too."""
    model = make(kind).train()
    config = model.config.to_dict()
    assert not torch.equal(answered(model, 1), answered(model, 2))
    disable_dropout(model)
    for seed in (1, 2):
        assert torch.equal(answered(model, seed), answered(model, 3))
    torch.testing.assert_close(answered(model), answered(model.eval()))
    assert model.config.to_dict() == config
    assert [*active_dropout(model)] == []


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    make("gpt2").save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


GRPO = {"kind": "grpo", "rewards": ["exact_match"]}


@pytest.mark.parametrize(
    ("objective", "still"),
    [("sft", False), ("orpo", False), ("dpo", True), ("kto", True), (GRPO, True)],
)
def test_a_policy_is_moved_by_what_it_learns_alone(
    gpt2: Path, tiny: Path, objective: Any, still: bool
) -> None:
    """The first step's margin, and the first ratio, would be chance. Of a base without dropout
    every training keeps the digest that it has had."""

    def plan(base: Path) -> Any:
        rows = encoded_rows(8), encoded_rows(2)
        manifest = manifest_for("lora", objective=objective)
        shape = read_shape(base)
        return make_plan(manifest, identity("lora"), shape, MACHINE, facts_of(*rows), ENVIRONMENT)

    planned = plan(gpt2)
    model = build_model(gpt2, planned)
    assert model.training
    assert torch.equal(answered(model, 1), answered(model, 2)) is still
    assert planned.undropped is still
    as_before = planned.model_copy(update={"undropped": False})
    assert (planned.digests.train != as_before.digests.train) is still
    assert not plan(tiny).undropped
