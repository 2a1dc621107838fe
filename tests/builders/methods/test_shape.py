"""What a plan reads of a base, and the arithmetic on it that no method owns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import Linear, read_shape
from adapterworks.builders.methods.technique import ENGINE_RANKS, engine_rank, largest_linear
from adapterworks.manifests.errors import InvalidInput
from tests.builders.build_support import manifest_for
from tests.builders.methods.made import SMALL, manifest_of

CONFIG = {
    "hidden_size": 12,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "vocab_size": 9,
}
TENSORS = {
    "model.embed_tokens.weight": (9, 12),
    "lm_head.weight": (9, 12),
    "model.layers.0.self_attn.q_proj.weight": (16, 12),
    "model.layers.0.self_attn.q_proj.bias": (16,),
    "model.layers.0.conv.weight": (3, 2, 5),
    "model.norm.weight": (12,),
    "scalar": (),
}


def checkpoint(folder: Path, **config: Any) -> Path:
    """A checkpoint in two files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    tensors = {name: torch.zeros(size) for name, size in TENSORS.items()}
    first = {name: tensors.pop(name) for name in list(tensors)[:3]}
    save_file(first, folder / "model-1.safetensors", metadata={"format": "pt"})
    save_file(tensors, folder / "model-2.safetensors")
    return folder


def test_linears_and_counts_come_from_the_files(tmp_path: Path) -> None:
    shape = read_shape(checkpoint(tmp_path / "base"))
    assert shape.linears == (Linear("model.layers.0.self_attn.q_proj", 16, 12),)
    assert shape.linears[0].leaf == "q_proj"
    assert shape.linear_parameters == 192
    # Embeddings and output 2 · 9 · 12, bias 16, convolution 30, norm 12, one number.
    assert shape.other == 216 + 16 + 30 + 12 + 1
    assert shape.parameters == 192 + 275
    assert (shape.layers, shape.hidden, shape.heads, shape.vocab) == (1, 12, 4, 9)


def test_what_a_configuration_leaves_out_is_what_transformers_takes(tmp_path: Path) -> None:
    shape = read_shape(checkpoint(tmp_path / "base"))
    assert (shape.intermediate, shape.kv_heads, shape.head_dim) == (48, 4, 3)
    assert shape.max_positions == 2048
    given = {
        "intermediate_size": 20,
        "num_key_value_heads": 2,
        "head_dim": 5,
        "max_position_embeddings": 77,
    }
    shape = read_shape(checkpoint(tmp_path / "given", **given))
    assert (shape.intermediate, shape.kv_heads, shape.head_dim) == (20, 2, 5)
    assert shape.max_positions == 77
    empty = {"intermediate_size": None, "num_key_value_heads": None, "head_dim": None}
    shape = read_shape(checkpoint(tmp_path / "empty", **empty))
    assert (shape.intermediate, shape.kv_heads, shape.head_dim) == (48, 4, 3)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a decoder-only checkpoint"):
        read_shape(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidInput, match="not a decoder-only checkpoint"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_size": 1}')
    with pytest.raises(InvalidInput, match="num_attention_heads"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(InvalidInput, match="no safetensors file"):
        read_shape(tmp_path)


def test_targets_are_found_by_the_last_part_of_their_names() -> None:
    assert SMALL.targeted("all-linear") == SMALL.linears
    names = [linear.name for linear in SMALL.targeted(("k_proj",))]
    assert names == ["model.layers.0.self_attn.k_proj", "model.layers.1.self_attn.k_proj"]
    with pytest.raises(InvalidInput, match="`c_attn`, which is no linear layer") as caught:
        SMALL.targeted(("k_proj", "w_proj", "c_attn"))
    assert caught.value.hint == "this base has `down_proj`, `k_proj`, `q_proj`"


def test_the_engines_rank_holds_the_adapters() -> None:
    assert [engine_rank(rank) for rank in (1, 2, 8, 9, 256, 257, 321, 512)] == [
        1, 8, 8, 16, 256, 320, 512, 512,
    ]  # fmt: skip
    assert ENGINE_RANKS == (1, 8, 16, 32, 64, 128, 256, 320, 512)
    assert largest_linear(SMALL) == 24


def test_nf4_holds_four_bits_a_weight_and_its_scales() -> None:
    """Dettmers et al. 2023, §3: 0.5 bits a parameter for scales, 0.127 with double quantization."""
    qlora, base = METHODS["qlora"], manifest_for("qlora").base
    shape = cast("Any", SimpleNamespace(linear_parameters=1 << 20, other=1000))
    double = qlora.weight_bytes(shape, base, width=2, trainable=10)
    assert double == int((1 << 20) * (4 + 0.126953125) / 8) + 2000 + 40
    single = base.model_copy(update={"double_quantization": False})
    assert qlora.weight_bytes(shape, single, width=2, trainable=10) == (1 << 20) * 9 // 16 + 2040
    assert qlora.weight_bytes(shape, single, width=4, trainable=10) == (1 << 20) * 9 // 16 + 4040
    kept = qlora.kept(SMALL, manifest_of("qlora", rank=3).method, 2)
    assert kept.once == 2 * 24 * 2
    assert kept.layer == METHODS["lora"].kept(SMALL, manifest_of("lora", rank=3).method, 2).layer


def test_qlora_needs_a_quantized_base_and_trains_on_it() -> None:
    check = METHODS["qlora"].checks[0]
    manifest = manifest_for("qlora")
    assert list(check.find(manifest, {})) == []
    dense = manifest.base.model_copy(update={"quantization": "none"})
    (problem,) = check.find(manifest.model_copy(update={"base": dense}), {})
    assert problem.key == ("base", "quantization")
    assert len(METHODS["qlora"].checks) == 2
    base = cast("Any", SimpleNamespace(checkpoint=Path("/packed"), served=Path("/dense")))
    assert METHODS["qlora"].checkpoint(base) == Path("/packed")
    assert METHODS["lora"].checkpoint(base) == Path("/dense")


def test_what_every_method_has_unless_it_says_otherwise() -> None:
    lora, manifest = METHODS["lora"], manifest_of("lora")
    # The frozen base in the training's precision, what is trained in float32.
    assert lora.weight_bytes(SMALL, manifest.base, width=2, trainable=10) == 2 * 146 + 40
    assert lora.release_bytes(SMALL, 10) == 80
    assert lora.virtual_tokens(manifest.method) == 0
    assert lora.embedded_tokens(manifest.method) == 0
    assert lora.best_from(manifest.method, 10) == 0
    assert lora.extra_loss(cast("Any", None)) is None
    assert lora.state(cast("Any", None)) == ({}, {})
    assert lora.kind == "lora"
    full = METHODS["full"]
    table = manifest_of("full").method
    assert list(full.sizes(table)) == [table]
    assert full.adopt(table) is table
    assert full.adopt(manifest.method) is None
    assert full.kept(SMALL, table, 4).layer == 4 * 4 + 2 * 4 + 3 * 2 + 6
    flags = {
        kind: (m.soft_prompt, m.cut, m.whole_model, m.gradient_checkpointing, m.quantization)
        for kind, m in METHODS.items()
    }
    assert flags == {
        "lora": (False, False, False, True, "none"),
        "qlora": (False, False, False, True, "nf4"),
        "dora": (False, True, False, True, "none"),
        "adalora": (False, False, False, True, "none"),
        "full": (False, True, True, True, "none"),
        "prompt-tuning": (True, False, False, True, "none"),
        "prefix-tuning": (True, False, False, False, "none"),
        "p-tuning-v2": (True, False, False, False, "none"),
    }
