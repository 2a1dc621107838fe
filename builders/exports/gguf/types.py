"""Which type of numbers each tensor of a GGUF file gets.

`q4_k_m`, `q5_k_m` and `q6_k` are mixtures: the output matrix and, for the first two, some layers'
values and down-projections get six bits. The rules are those of `llama-quantize` for dense models
(`llama_tensor_get_type`, https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

FILE_TYPES = {
    "f32": "ALL_F32",
    "f16": "MOSTLY_F16",
    "bf16": "MOSTLY_BF16",
    "q8_0": "MOSTLY_Q8_0",
    "q6_k": "MOSTLY_Q6_K",
    "q5_k_m": "MOSTLY_Q5_K_M",
    "q4_k_m": "MOSTLY_Q4_K_M",
    "q4_0": "MOSTLY_Q4_0",
}
K_QUANTS = frozenset({"q4_k_m", "q5_k_m", "q6_k"})
# What a matrix gets whose rows are not whole blocks of 256.
_NARROW = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_LAYER = re.compile(r"blk\.([0-9]+)\.(.+)\.weight")


def types_of(
    shapes: Sequence[tuple[str, tuple[int, ...]]], type_: str
) -> dict[str, GGMLQuantizationType]:
    """The type of every tensor, by GGUF's name of it."""
    import gguf

    layers = 1 + max((int(m[1]) for name, _ in shapes if (m := _LAYER.fullmatch(name))), default=0)
    tied = all(name != "output.weight" for name, _ in shapes)
    found = {}
    for name, shape in shapes:
        kind = gguf.GGMLQuantizationType[_kind(name, type_, layers, tied=tied)]
        if shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] and kind.name in _NARROW:
            kind = gguf.GGMLQuantizationType[_NARROW[kind.name]]
        if len(shape) < 2:  # norms and biases, as llama.cpp reads them
            kind = gguf.GGMLQuantizationType.F32
        elif shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:  # rows that do not fit
            kind = gguf.GGMLQuantizationType.F16
        found[name] = kind
    return found


def _kind(name: str, type_: str, layers: int, *, tied: bool) -> str:
    """What a matrix of rows that fit gets.

    Embeddings, which are the output's weights too in small models, keep eight bits of four.
    """
    if type_ not in K_QUANTS:
        kept = name.startswith(("token_embd", "output")) and type_ == "q4_0"
        return "Q8_0" if kept else type_.upper()
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return "Q6_K"
    layer = _LAYER.fullmatch(name)
    if layer is not None and layer[2] in ("attn_v", "ffn_down") and _more(int(layer[1]), layers):
        return "Q6_K"
    return type_[:4].upper()


def _more(layer: int, layers: int) -> bool:
    """The first and last eighth of the layers, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
