"""An adapter in another's place: it is itself, and the policy is afterwards as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from adapterworks.builders.methods import METHODS
from adapterworks.builders.objectives.scoring import with_adapter
from tests.builders.build_support import manifest_for

IDS = torch.arange(3, 23).reshape(2, 10)
OTHER: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "alpha": 3, "target_modules": ["q_proj", "up_proj"]},
    "dora": {"rank": 4},
    "adalora": {"rank": 2, "initial_rank": 3},
    "ia3": {"outputs": ["v_proj"]},
    "vera": {"initial_scale": 0.3},
    "vblora": {"vector_length": 16, "chosen": 3},
    "prompt-tuning": {},
    "prefix-tuning": {},
    "p-tuning-v2": {},
}


POLICY = {"vblora": {"vector_length": 16, "chosen": 3}}


def made(tiny: Path, kind: str, seed: int, method: dict[str, Any]) -> Any:
    """A method with parameters that say something."""
    torch.manual_seed(seed)
    manifest = manifest_for(kind, method=method)
    base = AutoModelForCausalLM.from_pretrained(tiny)
    base.requires_grad_(False)
    model: Any = METHODS[kind].attach(base, manifest.method, 20)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def answered(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


@pytest.mark.parametrize("kind", sorted(OTHER))
def test_each_is_itself(tiny: Path, tmp_path: Path, kind: str) -> None:
    other = made(tiny, kind, 1, OTHER[kind])
    METHODS[kind].save(other, tmp_path, "base")
    policy = made(tiny, kind, 2, POLICY.get(kind, {}))
    before, state = answered(policy), torch.get_rng_state()
    trained = [name for name, p in policy.named_parameters() if p.requires_grad]
    with with_adapter(policy, tmp_path):
        torch.testing.assert_close(answered(policy.eval()), answered(other))
    assert torch.equal(answered(policy), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert [name for name, p in policy.named_parameters() if p.requires_grad] == trained
    assert not torch.allclose(before, answered(other), atol=1e-3), "nothing would be told apart"
