"""A real small LoRA, a registry of its own, a loopback Hub, and the real command in a process."""

from __future__ import annotations

import io
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapterworks.registry.releases.release import Draft
from tests.hub_standin import Account, HubStandin
from tests.registry.remotes.hub.machine import (
    OWNER,
    READER,
    REPOSITORY,
    STRANGER,
    Machine,
    Prepared,
    Trained,
    release_files,
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A two-layer random Llama and a LoRA with random weights, as PEFT saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

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
    words = {word: index for index, word in enumerate(["<unk>", *string.ascii_letters])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(
        folder / "tiny-base"
    )
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


@pytest.fixture(scope="session")
def prepared(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A machine's home; a test copies it."""
    folder = tmp_path_factory.mktemp("prepared")
    machine = Machine(folder / "home")
    machine.ok("import", trained.adapter, "--as", "medical", "--base", trained.base)
    registry = machine.registry
    first = registry.release(registry.resolve("medical@1").digest)
    release = folder / "release"
    picture = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(picture, "PNG")
    files = {
        **release_files(registry, first.digest),
        "README.md": b"# medical\n\n![loss](plots/loss.png)\n",
        "adapter/README.md": b"PEFT's own card\n",
        "plots/loss.png": picture.getvalue(),
        "predictions.jsonl": b"{}\n" * 10,
        "report.json": b'{"metrics": {"exact_match": 0.5}}',
    }
    for path, data in files.items():
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).write_bytes(data)
    values = {field: getattr(first, field) for field in Draft.model_fields} | {
        "manifest": {
            "adapter": {"name": "medical", "language": ["en"]},
            "data": {"train": "hub:org/icd@main#train", "test": "icd-10-cm:test"},
            "publish": {"hub": REPOSITORY, "private": True},
        },
        "license": "apache-2.0",
        "metrics": {"exact_match": 0.5, "rouge_l": 0.75},
        "base": first.base.model_copy(update={"model": f"hub:org/tiny@{'a' * 40}"}),
    }
    published = registry.publish(release, Draft(**values), who="tester")
    registry.database.close()
    return Prepared(machine.home, published)


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
