"""What was pushed loads with plain PEFT, and is the adapter that was trained."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.registry.remotes.hub.machine import Machine, Trained

_PROGRAM = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base, local, remote = sys.argv[1:]
tokens = torch.arange(10).unsqueeze(0)
def logits(adapter):
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        plain = model(tokens).logits
        return plain, PeftModel.from_pretrained(model, adapter)(tokens).logits
plain, trained = logits(local)
_, pulled = logits(remote)
assert torch.equal(trained, pulled), "not the adapter that was trained"
print(float((trained - plain).abs().max()))
"""


@pytest.mark.slow
def test_an_import_can_be_fingerprinted_after_the_checks(
    new_machine: Callable[..., Machine], trained: Trained
) -> None:
    machine = new_machine("ours")
    arguments = ("import", trained.adapter, "--as", "medical", "--base", trained.base)
    bare = machine.ok(*arguments, "--json").json
    done = machine.ok(*arguments, "--fingerprint", "--json").json
    assert (bare["version"], done["version"], done["created"]) == (1, 2, True)
    registry = machine.registry
    release = registry.release(done["digest"])
    value = json.loads(registry.read(done["digest"], "fingerprint.json"))
    assert value["base_digest"] == release.base.digest
    for probe in value["probes"]:
        assert len(probe["adapter"]) == len(probe["base"]) == len(probe["positions"])
        assert probe["adapter"] != probe["base"]


@pytest.mark.slow
def test_peft_from_pretrained_of_a_pushed_adapter(
    new_machine: Callable[..., Machine], trained: Trained
) -> None:
    machine = new_machine("ours")
    machine.ok("import", trained.adapter, "--as", "medical", "--base", trained.base)
    machine.ok("push", "medical@1", "--to", "org/medical-lora", "--private")
    loaded = machine.python("-c", _PROGRAM, trained.base, trained.adapter, "org/medical-lora")
    assert loaded.code == 0, loaded.err
    assert float(loaded.out) > 1e-3  # and it does something
    anonymous = Machine(machine.home / "other", machine.hub, token=None)
    refused = anonymous.python(
        "-c",
        "from huggingface_hub import hf_hub_download; "
        "hf_hub_download('org/medical-lora', 'adapter_config.json')",
    )
    assert refused.code != 0
    assert "RepositoryNotFoundError" in refused.err
