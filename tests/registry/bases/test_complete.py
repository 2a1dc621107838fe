"""A checkpoint's files hold the model that its configuration describes, or nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from adapterworks.cli.main import cli
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.complete import require_complete
from adapterworks.registry.bases.store import BaseStore

Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def hollow(tmp_path: Path) -> Path:
    """What a stranger wrote in a minute: 64 numbers, and the name of a model of 6.7 billion."""
    folder = tmp_path / "hollow"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    save_file(
        {"model.layers.0.self_attn.q_proj.weight": torch.ones(8, 8)}, folder / "model.safetensors"
    )
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """27 GB would be asked for: the test machine does not have them either."""

    def loading(*_: object, **__: object) -> Any:
        pytest.fail("weights are loaded")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", loading)


def test_too_few_numbers_are_counted(hollow: Path) -> None:
    with pytest.raises(InvalidInput, match=r"hold 64 numbers, .* a model of 6,738,415,616"):
        require_complete(hollow)


def test_a_hollow_base_is_not_quantized(hollow: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="hold 64 numbers"):
        BaseStore(tmp_path / "bases").ensure(str(hollow), quantization="nf4")
    assert not list((tmp_path / "bases").glob("*-nf4-*/base.json"))


def test_a_hollow_base_gives_no_fingerprint(
    hollow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an import was killed by the kernel, without a word."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    said = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(said))
    save_file(
        {f"{Q}.lora_A.weight": torch.ones(2, 8), f"{Q}.lora_B.weight": torch.ones(8, 2)},
        adapter / "adapter_model.safetensors",
    )
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADAPTERS_BASES", str(tmp_path / "bases"))
    asked = ["import", str(adapter), "--as", "x", "--base", str(hollow), "--fingerprint"]
    result = CliRunner().invoke(cli, asked)
    assert isinstance(result.exception, InvalidInput)
    assert "hold 64 numbers" in str(result.exception)
