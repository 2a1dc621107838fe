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
from adapterworks.builders.methods.factors import read_weights
from adapterworks.builders.methods.linears import Linear
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.methods.technique import ENGINE_RANKS, engine_rank, largest_linear
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.complete import weight_files
from tests.builders.build_support import manifest_for
from tests.builders.methods.made import SMALL, manifest_of

CONFIG = {
    "model_type": "llama",
    "hidden_size": 12,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "vocab_size": 9,
    "intermediate_size": 20,
    "tie_word_embeddings": False,
    "attention_bias": True,
}
_Q, _KV, _MLP = 12 * 12, 12 * 12, 20 * 12
LINEARS = 2 * _Q + 2 * _KV + 3 * _MLP
# Embeddings and output 2 · 9 · 12, four biases of 12, three norms of 12.
OTHER = 2 * 9 * 12 + 4 * 12 + 3 * 12


def checkpoint(folder: Path, *, numbers: int = LINEARS + OTHER, **config: Any) -> Path:
    """A checkpoint in two files: as many numbers as its model has, under any names."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    for name, count in (("model-1", numbers - 100), ("model-2", 100)):
        tensors = {name: torch.zeros(count)}
        save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
    return folder


def test_linears_and_counts_are_the_models_own(tmp_path: Path) -> None:
    shape = read_shape(checkpoint(tmp_path / "base"))
    assert len(shape.linears) == 7
    assert Linear("model.layers.0.mlp.up_proj", 20, 12) in shape.linears
    assert {linear.leaf for linear in shape.linears} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert shape.linear_parameters == LINEARS
    assert shape.other == OTHER
    assert (shape.layers, shape.hidden, shape.heads, shape.vocab) == (1, 12, 4, 9)
    assert (shape.kv_heads, shape.head_dim, shape.intermediate) == (4, 3, 20)
    assert (shape.window, shape.experts, shape.mixes, shape.uniform_cache) == (
        None,
        False,
        (),
        True,
    )
    assert shape.architecture == "llama"


def test_a_tied_output_is_counted_once(tmp_path: Path) -> None:
    shape = read_shape(checkpoint(tmp_path / "base", tie_word_embeddings=True))
    assert shape.other == OTHER - 9 * 12


def test_what_a_configuration_says_in_other_words_is_understood(tmp_path: Path) -> None:
    given = {"num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 77}
    shape = read_shape(checkpoint(tmp_path / "given", **given, numbers=5000))
    assert (shape.kv_heads, shape.head_dim, shape.max_positions) == (2, 6, 77)
    gpt2 = {"model_type": "gpt2", "n_embd": 12, "n_head": 4, "n_layer": 1, "n_positions": 50}
    shape = read_shape(checkpoint(tmp_path / "gpt2", **gpt2, numbers=9000))
    assert (shape.hidden, shape.layers, shape.max_positions) == (12, 1, 50)
    assert Linear("transformer.h.0.attn.c_attn", 36, 12, transposed=True) in shape.linears


def test_the_index_is_believed_and_what_lies_beside_it_is_not_read(tmp_path: Path) -> None:
    """Mistral's repositories have the weights twice; both were counted."""
    base = checkpoint(tmp_path / "base")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({"again": torch.zeros(LINEARS)}, base / "consolidated.safetensors")
    assert [path.name for path in weight_files(base)] == [
        "model-1.safetensors",
        "model-2.safetensors",
    ]
    assert read_weights(base).keys() == {"model-1", "model-2"}
    (base / "model-2.safetensors").unlink()
    with pytest.raises(InvalidInput, match=r"names `model-2.safetensors`, which is not there"):
        read_shape(base)
    (base / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(InvalidInput, match="no index of weights"):
        read_shape(base)


def test_files_that_hold_less_than_the_model_are_refused(tmp_path: Path) -> None:
    """`transformers` would draw the rest, and say so in a log that nobody reads."""
    with pytest.raises(InvalidInput, match=r"hold 1,595 numbers, .* a model of 1,596"):
        read_shape(checkpoint(tmp_path / "less", numbers=LINEARS + OTHER - 1))
    read_shape(checkpoint(tmp_path / "more", numbers=LINEARS + OTHER + 1))


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a decoder-only checkpoint"):
        read_shape(tmp_path / "nowhere")
    for text, reason in (
        ("{", "not a decoder-only checkpoint"),
        ('{"hidden_size": 1}', "no `model_type`"),
        ('{"model_type": "no-such-model"}', "no-such-model"),
        ('{"model_type": "t5"}', "not a decoder-only checkpoint"),
        ('{"model_type": "mamba", "num_hidden_layers": 1}', "no attention heads"),
        (json.dumps(CONFIG), "no safetensors file"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InvalidInput, match=reason):
            read_shape(tmp_path)


def test_targets_are_found_by_the_last_part_of_their_names() -> None:
    assert SMALL.targeted("all-linear") == SMALL.linears
    names = [linear.name for linear in SMALL.targeted(("k_proj",))]
    assert names == ["model.layers.0.self_attn.k_proj", "model.layers.1.self_attn.k_proj"]
    with pytest.raises(InvalidInput, match="`c_attn`, which is no linear layer") as caught:
        SMALL.targeted(("k_proj", "c_attn", "w_proj"))
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
    assert METHODS["qlora"].checks[1:] == METHODS["lora"].checks
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
        "vera": (False, False, False, True, "none"),
        "vblora": (False, False, False, True, "none"),
        "ia3": (False, True, False, True, "none"),
        "full": (False, True, True, True, "none"),
        "prompt-tuning": (True, False, False, True, "none"),
        "prefix-tuning": (True, False, False, False, "none"),
        "p-tuning-v2": (True, False, False, False, "none"),
    }
