"""Which bases an engine takes a LoRA for, and what of a base NF4 leaves as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan import served
from adapterworks.builders.plan.lints import base_lints
from adapterworks.builders.plan.served import without_lora
from bench.architectures import make_base
from tests.builders.build_support import manifest_for
from tests.builders.plan.test_plan import plan_for

WITHOUT = (
    "BloomForCausalLM",
    "DbrxForCausalLM",
    "FalconForCausalLM",
    "GPT2LMHeadModel",
    "GPTJForCausalLM",
    "Gemma3nForCausalLM",
    "MambaForCausalLM",
    "StableLmForCausalLM",
    "Zamba2ForCausalLM",
)
WITH = (
    "DeepseekV3ForCausalLM",
    "Gemma3ForCausalLM",
    "GptOssForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "OPTForCausalLM",
    "Phi3ForCausalLM",
    "Qwen3MoeForCausalLM",
)


# What the import of vLLM's layers says, where this is the first test that needs them.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", [*WITH, *WITHOUT])
def test_vllms_own_class_says_the_same_of_itself(name: str) -> None:
    """Imported, as an engine does."""
    from vllm.model_executor.models import ModelRegistry
    from vllm.model_executor.models.interfaces import supports_lora

    made: Any = ModelRegistry._try_load_model_cls(name)
    assert made is not None
    assert supports_lora(made) is (name in WITH)
    assert without_lora([name]) == (None if name in WITH else made.__name__)


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A vLLM of a few classes."""
    folder = tmp_path / "vllm" / "model_executor" / "models"
    (folder / "deep").mkdir(parents=True)
    files = {
        "registry.py": """
_A = {
    "One": ("one", "One"),
    "Two": (
        "two",
        "Two",
    ),
    "Three": ("two", "Three"),
    "Four": ("deep", "Four"),
    "Five": ("gone", "Five"),
}
_B = {"Three": ("one", "One")}
""",
        "one.py": "class Half(Module, SupportsLoRA, SupportsPP): ...\nclass One(Half): ...",
        "two.py": """
from vllm.model_executor.models.one import One as First
from torch import nn
class Two(First): ...
class Three(nn.Module, Generic[T]): ...
""",
        "deep/__init__.py": "from .part import Base\nclass Four(Mixin, Base): ...",
        "deep/part.py": "from ..one import Half\nclass Base(Half): ...",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(served, "_models", lambda: folder)
    yield folder
    served._entries.cache_clear()


@pytest.mark.parametrize(
    ("classes", "without"),
    [
        (["One"], None),
        (["Two"], None),
        (["Four"], None),
        (["Three"], "Three"),
        (["Five"], "Five"),
        (["Unknown", "Three"], "Three"),
        (["Two", "Three"], None),
        (["Unknown"], None),
        ([], None),
    ],
)
def test_a_class_takes_what_its_ancestors_take(
    vllm: Path, classes: list[str], without: str | None
) -> None:
    """In its own file, in a neighbour's, under another name, or in a folder."""
    assert without_lora(classes) == without


def test_without_vllm_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_models", lambda: None)
    assert without_lora(["GPT2LMHeadModel"]) is None
    monkeypatch.undo()
    served._models.cache_clear()
    monkeypatch.setattr(served, "find_spec", lambda name: None)
    assert served._models() is None
    served._models.cache_clear()


@pytest.mark.parametrize("name", WITHOUT)
def test_a_base_that_no_engine_takes_a_lora_for_is_said(name: str, tiny: Path) -> None:
    shape = read_shape(tiny)
    assert shape.classes == ("LlamaForCausalLM",)
    assert [*base_lints(manifest_for("lora"), shape)] == []
    other = replace(shape, classes=(name,), architecture="other")
    (lint,) = [one for one in plan_for("lora", other).lints if one.key == "base.model"]
    assert "`other` cannot be served: vLLM has no LoRA for it" in lint.message
    assert "does not support LoRA yet" in lint.source


@pytest.mark.parametrize(("kind", "said"), [("qlora", True), ("lora", False)])
def test_experts_of_an_nf4_base_are_said_to_be_whole(tmp_path: Path, kind: str, said: bool) -> None:
    """Of a tiny Mixtral they are most of what it has."""
    shape = read_shape(make_base("Mixtral", tmp_path))
    lints = [one for one in base_lints(manifest_for(kind), shape) if "NF4" in one.message]
    assert [one.key for one in lints] == ["base.quantization"] * said
    if said:
        assert "leaves the experts of `mixtral` as they are, about " in lints[0].message
    dense = replace(shape, experts=False)
    assert [*base_lints(manifest_for(kind), dense)] == []
