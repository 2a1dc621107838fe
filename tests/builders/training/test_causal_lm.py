"""All load a base alike: with the attention that it was made with, soft cap of its scores too."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.engines.huggingface import load_model
from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.builders.training.model import build_model
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.causal_lm import load_causal_lm, needs_eager, use_attention
from adapterworks.registry.bases.nf4 import load_nf4
from bench.architectures import make_base
from tests.builders.build_support import (
    ENVIRONMENT,
    MACHINE,
    encoded_rows,
    facts_of,
    identity,
    manifest_for,
)

PRODUCT = Path(__file__).parents[3]
# The only one that may ask `transformers` itself: it rewrites weights and computes nothing.
CONVERTS = {"registry/bases/causal_lm.py", "registry/bases/sources.py"}
AREAS = ("adapterworks", "builders", "gateway", "manifests", "registry")
IDS = torch.arange(2, 42)[None]


@pytest.fixture(scope="module")
def gemma2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cap so low that every score meets it, as Gemma 2's own meet 50."""
    return make_base("Gemma2", tmp_path_factory.mktemp("gemma2"))


def planned(base: Path, kind: str = "lora") -> Plan:
    facts = facts_of(encoded_rows(8), encoded_rows(2))
    shape = read_shape(base)
    return make_plan(manifest_for(kind), identity(kind), shape, MACHINE, facts, ENVIRONMENT)


@torch.no_grad()
def answered(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model.eval()(input_ids=IDS).logits[0].float()
    return logits.log_softmax(-1)


def asked(base: Path, attention: str) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    given: Any = {"attn_implementation": attention, "dtype": torch.float32}
    return answered(AutoModelForCausalLM.from_pretrained(base, **given))


def test_a_cap_of_the_scores_is_computed_wherever_a_base_is_loaded(gemma2: Path) -> None:
    """In training, answers and fingerprints; vLLM computes it, `sdpa` passes over it."""
    right, wrong = asked(gemma2, "eager"), asked(gemma2, "sdpa")
    assert float((right - wrong).abs().max()) > 0.1
    loaded = {
        "trained": answered(build_model(gemma2, planned(gemma2))),
        "asked": answered(load_model(gemma2)),
        "full": answered(METHODS["full"].load(gemma2, None, torch.float32, "cpu")),  # type: ignore[arg-type]
    }
    for name, found in loaded.items():
        assert torch.allclose(found, right, atol=1e-5), name
    assert needs_eager(gemma2)
    fingerprinted = ServedModel(gemma2).log_probabilities(IDS[0].tolist())
    assert torch.allclose(fingerprinted, right, atol=1e-5)
    assert load_nf4(gemma2, double_quantization=True).config._attn_implementation == "eager"


def test_every_other_base_is_loaded_as_it_was(tiny: Path) -> None:
    assert not needs_eager(tiny)
    assert load_causal_lm(tiny).config._attn_implementation == "sdpa"
    assert load_causal_lm(tiny, attn_implementation="eager").config._attn_implementation == "eager"


def test_a_cap_moves_the_digest_of_a_training_and_no_other(gemma2: Path, tiny: Path) -> None:
    """One that began without the cap does not go on with it."""
    capped = planned(gemma2)
    assert capped.capped
    assert not planned(tiny).capped
    before = capped.model_copy(update={"capped": False})
    assert capped.digests.train != before.digests.train


def test_a_training_computes_the_attention_that_its_plan_chose(tiny: Path) -> None:
    """And the same numbers, in another order of addition."""
    plan = planned(tiny)
    model: Any = build_model(tiny, plan)
    other: Any = build_model(tiny, plan.model_copy(update={"attention": "eager"}))
    assert (model.config._attn_implementation, other.config._attn_implementation) == (
        "sdpa",
        "eager",
    )
    assert torch.allclose(answered(model), answered(other), atol=1e-5)


def test_what_a_base_can_compute_is_read_from_its_class(
    gemma2: Path, tiny: Path, tmp_path: Path
) -> None:
    """`sdpa` passes over Gemma 2's cap; GPT-OSS's sinks are nothing for FlashAttention 2."""
    flash, flex = "flash_attention_2", "flex_attention"
    assert read_shape(tiny).attentions == ("sdpa", "eager", flash, flex)
    assert read_shape(gemma2).attentions == ("eager", flash, flex)
    assert read_shape(make_base("GPT-OSS", tmp_path)).attentions == ("eager", flex)


def test_another_attention_is_not_gone_on_with(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`transformers` warns where a class takes none, and computes its own."""
    model = load_causal_lm(tiny)
    monkeypatch.setattr(type(model), "_can_set_attn_implementation", classmethod(lambda _: False))
    with pytest.raises(InvalidInput, match="this base computes `sdpa`"):
        use_attention(model, "eager")
    monkeypatch.undo()
    with pytest.raises(InvalidInput, match="cannot be used here"):
        use_attention(model, "flash_attention_2")


def test_nobody_loads_a_base_past_the_one_place() -> None:
    """A second place would forget the cap again."""
    found = set()
    for area in AREAS:
        for path in (PRODUCT / area).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            if "AutoModel" not in source:
                continue
            for node in ast.walk(ast.parse(source)):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr == "from_pretrained"
                    and "AutoModel" in ast.unparse(node.value)
                ):
                    found.add(str(path.relative_to(PRODUCT)))
    assert found == CONVERTS
