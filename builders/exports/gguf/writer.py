"""GGUF files written one tensor at a time, so that a model larger than memory can be.

Invariant: names, shapes and types of all tensors are known before the first byte of any of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.exports.gguf.families import (
    Family,
    family_of,
    head_dimension,
    key_value_heads,
    ordered,
    rope_of,
)
from adapterworks.builders.exports.gguf.quantize import quantize
from adapterworks.builders.exports.gguf.tokenizer import add_tokenizer
from adapterworks.builders.exports.gguf.types import FILE_TYPES, types_of
from adapterworks.builders.exports.lora import Delta
from adapterworks.manifests.errors import Refused

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, GGUFWriter

Named = tuple[str, "torch.Tensor"]


def read_config(checkpoint: Path) -> dict[str, Any]:
    """`config.json`."""
    config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    return config


def write_model(
    place: Path,
    checkpoint: Path,
    shapes: Iterable[tuple[str, tuple[int, ...]]],
    weights: Iterable[Named],
    type_: str,
    facts: dict[str, str],
) -> None:
    """Write a whole model.

    Args:
        checkpoint: whose configuration, tokenizer and template it gets.
        shapes: of all tensors, in the order of `weights`.
        weights: float32.
        type_: of the matrices; vectors stay float32.
        facts: text under keys of our own (`adapterworks.release`).

    Raises:
        Refused: no family for it, or a tensor that the family does not have.
    """
    import gguf

    config = read_config(checkpoint)
    family = family_of(config)
    names = _Names(config, family)
    writer = gguf.GGUFWriter(place, family.architecture)
    _add_facts(writer, facts)
    _add_shape(writer, config, family)
    add_tokenizer(writer, checkpoint, config["vocab_size"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[type_]])
    _stream(
        writer,
        [(names.of(name), shape) for name, shape in shapes],
        type_,
        ((names.of(name), ordered(name, tensor, config, family)) for name, tensor in weights),
    )


def write_adapter(
    place: Path, checkpoint: Path, deltas: dict[str, Delta], type_: str, facts: dict[str, str]
) -> None:
    """Write a LoRA: its scale is in B, so that `alpha` = rank of every module says the same to all.

    llama.cpp multiplies by α ÷ rank with one α for the whole file, so modules of several ranks are
    each divided by what it would multiply with.

    Args:
        checkpoint: of the base.

    Raises: as `write_model`.
    """
    import gguf

    config = read_config(checkpoint)
    family = family_of(config)
    names = _Names(config, family)
    alpha = max(delta.rank for delta in deltas.values())
    tensors: list[Named] = []
    for module, delta in deltas.items():
        name = names.of(f"{module}.weight")
        b = ordered(f"{module}.weight", delta.b, config, family) * (
            delta.scale * delta.rank / alpha
        )
        tensors += [(f"{name}.lora_a", delta.a), (f"{name}.lora_b", b)]
    writer = gguf.GGUFWriter(place, family.architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(alpha))
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[type_]])
    _add_facts(writer, facts)
    _stream(writer, [(n, tuple(t.shape)) for n, t in tensors], type_, iter(tensors))


class _Names:
    """GGUF's names of a checkpoint's tensors (`gguf.TensorNameMap`)."""

    def __init__(self, config: dict[str, Any], family: Family) -> None:
        import gguf

        found = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}
        self._map = gguf.get_tensor_name_map(
            found[family.architecture], config["num_hidden_layers"]
        )

    def of(self, name: str) -> str:
        """One tensor's."""
        found = self._map.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise Refused(f"llama.cpp has no name for the tensor `{name}` in this family")
        return str(found)


def _add_facts(writer: GGUFWriter, facts: dict[str, str]) -> None:
    for key, value in facts.items():
        writer.add_string(key, value)


def _add_shape(writer: GGUFWriter, config: dict[str, Any], family: Family) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(key_value_heads(config))
    dimension = head_dimension(config)
    writer.add_key_length(dimension)
    writer.add_value_length(dimension)
    writer.add_rope_dimension_count(dimension)
    writer.add_rope_freq_base(rope_of(config)["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _stream(
    writer: GGUFWriter,
    shapes: list[tuple[str, tuple[int, ...]]],
    type_: str,
    tensors: Iterator[Named],
) -> None:
    import gguf
    import numpy as np

    types = types_of(shapes, type_)
    for name, shape in shapes:
        kind = types[name]
        stored = gguf.quant_shape_to_byte_shape(shape, kind) if _quantized(kind) else shape
        plain = {"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8)
        size = int(np.prod(stored)) * np.dtype(plain).itemsize
        writer.add_tensor_info(name, stored, np.dtype(plain), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for (name, _), (given, tensor) in zip(shapes, tensors, strict=True):
        assert name == given
        writer.write_tensor_data(_as(tensor.numpy(), types[name]))
    writer.close()


def _as(values: np.ndarray[Any, Any], kind: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    import numpy as np

    if kind.name == "F32":
        return np.ascontiguousarray(values, dtype=np.float32)
    if kind.name == "F16":
        return np.ascontiguousarray(values, dtype=np.float16)
    return quantize(values, kind)


def _quantized(kind: GGMLQuantizationType) -> bool:
    return kind.name not in ("F32", "F16")
