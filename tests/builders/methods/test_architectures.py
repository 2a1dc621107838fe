"""Bases of many architectures: planned is trained, no row sees another, served is what was trained.

`make test-all` runs the whole matrix, which `python -m bench.architectures` prints.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.errors import InvalidInput
from bench.architectures import ARCHITECTURES, METHODS, layouts, make_base, trained

pytestmark = pytest.mark.train
# One of each kind: grouped heads, a window, experts whose mask knows no positions, no rotary
# positions, one shared head, latent attention, convolutions between rows.
QUICK = ("Llama", "Gemma3", "GPT-OSS", "GPT-2", "Falcon", "DeepSeek-V3", "LFM2")
EVERY = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in ARCHITECTURES
    if name != "Mamba"
]
# Rows end to end: positions are not enough for these, and the model is found out.
SEE_EACH_OTHER = {"GPT-OSS", "OPT", "Bloom", "Falcon", "LFM2"}
# A window, or convolutions: a mask from outside would take the place of the model's own.
OWN_MASK = {"Mistral", "Gemma2", "Gemma3", "Gemma3-images", "OLMo3", "Cohere2", "GPT-OSS",
            "LFM2"}  # fmt: skip
MUST = ("Llama", "Qwen2", "Qwen3", "Mistral", "Gemma2", "Gemma3", "Gemma3-images", "Phi3", "OLMo2",
        "Granite", "SmolLM3", "Cohere2")  # fmt: skip


def base(name: str, tmp_path: Path) -> Path:
    return make_base(name, tmp_path / "base")


@pytest.mark.parametrize("name", EVERY)
def test_a_rows_loss_is_its_own_in_every_layout_that_is_used(name: str, tmp_path: Path) -> None:
    found = layouts(base(name, tmp_path))
    assert found.fault is None
    assert not (found.packs and name in SEE_EACH_OTHER)
    assert not (found.shares and name in OWN_MASK)
    if name not in SEE_EACH_OTHER | OWN_MASK:
        assert found.packs


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(*each.values, kind, marks=each.marks)
        for kind in METHODS
        for each in EVERY
        # Of those that are quick, NF4 has the same matrices; `make test-all` has the others.
        if kind != "qlora" or each.values[0] == "Llama" or each.values[0] not in QUICK
    ],
)
def test_what_is_served_is_what_was_planned_and_trained(
    name: str, kind: str, tmp_path: Path
) -> None:
    said = trained(base(name, tmp_path), tmp_path, kind)
    if name in MUST or kind == "lora":
        assert not said.startswith("refused"), said
    if kind in ("lora", "qlora", "prefix-tuning") and not said.startswith("refused"):
        assert said == "exact"


def test_a_base_without_attention_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="`mamba` has no attention heads"):
        layouts(base("Mamba", tmp_path))
