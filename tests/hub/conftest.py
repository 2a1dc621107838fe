"""A real small LoRA, a registry of its own, a loopback Hub, and the real command in a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.machine import OWNER, READER, STRANGER, Machine, Trained
from tests.hub_standin import Account, HubStandin


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A two-layer random Llama and a LoRA with random weights, as PEFT saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "tiny-base")
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules="all-linear",
            init_lora_weights=False,  # B is not zero: the adapter does something
            task_type="CAUSAL_LM",
        ),
    )
    adapted.save_pretrained(folder / "adapter", safe_serialization=True)
    return Trained(folder / "tiny-base", folder / "adapter")


@pytest.fixture
def hub() -> Iterator[HubStandin]:
    """A Hub with three accounts: the owner of `org`, who may write; a reader of it; a stranger."""
    accounts = {
        OWNER: Account("org"),
        READER: Account("org", read_only=True),
        STRANGER: Account("elsewhere"),
    }
    with HubStandin(accounts) as standin:
        yield standin


@pytest.fixture
def new_machine(tmp_path: Path, hub: HubStandin) -> Callable[..., Machine]:
    """Makes machines; all of them see the same Hub."""

    def make(name: str, token: str | None = OWNER, **extra: str) -> Machine:
        return Machine(tmp_path / name, hub, token, extra)

    return make
