"""GPT-2: linears stored the other way round, and on the Hub without the causal model's name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from adapterworks.registry.imports.modules import read_modules
from tests.builders.exports.models import make_model
from tests.builders.exports.test_proof import export
from tests.builders.merging.conftest import Shelf, make_shelf


@pytest.fixture(params=["causal", "bare"])
def shelf(tmp_path: Path, request: pytest.FixtureRequest) -> Shelf:
    """A registry with `one@1` on a GPT-2, saved as a causal model or as the Hub's is."""
    tokenizer = AutoTokenizer.from_pretrained(make_model(tmp_path / "llama"))
    torch.manual_seed(0)
    config = GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=256, vocab_size=len(tokenizer),
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6)
    place = tmp_path / "gpt2"
    model.save_pretrained(place)
    if request.param == "bare":
        model.transformer.save_pretrained(place)  # the same configuration, `h.0.…`
    tokenizer.save_pretrained(place)
    shelf = make_shelf(tmp_path, place)
    targets = ["c_attn", "c_proj", "c_fc"]
    shelf.publish("one", 1, target_modules=targets, fan_in_fan_out=True)
    return shelf


def test_it_is_merged_and_proved(shelf: Shelf) -> None:
    done = export(shelf, "merged", type_="f32")
    assert done.proof is not None
    assert done.proof.divergence < 1e-7
    assert done.proof.base_divergence is not None
    assert done.proof.base_divergence > 1e-3


def test_its_modules_are_called_as_adapters_call_them(shelf: Shelf) -> None:
    modules = read_modules(shelf.base.checkpoint)
    assert modules.in_out("transformer.h.1.attn.c_attn") == (32, 96)
    assert "transformer.h.0.mlp.c_proj" in modules.linear
