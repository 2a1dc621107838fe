"""Families of models in GGUF: which keys, names and orders of rows llama.cpp expects of each.

A family is data. llama.cpp's rotary embedding turns pairs of neighbours in some families, halves in
others; a checkpoint has halves, so for the first the rows of q and k are put in the other order
(`permuted`). An adapter's B has the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapterworks.manifests.errors import Refused

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Family:
    """One `model_type`.

    Attributes:
        architecture: llama.cpp's name.
        permuted: whether the rows of q and k go from halves to pairs.
    """

    architecture: str
    permuted: bool = False


FAMILIES = {
    "llama": Family("llama", permuted=True),
    "mistral": Family("llama", permuted=True),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3"),
}


def family_of(config: dict[str, Any]) -> Family:
    """The family of a checkpoint's configuration.

    Raises:
        Refused: it is not known, or has something that llama.cpp would compute otherwise.
    """
    kind = config.get("model_type")
    family = FAMILIES.get(str(kind))
    if family is None:
        raise Refused(
            f"models of the type `{kind}` cannot be written as GGUF here",
            hint=f"known are {', '.join(FAMILIES)}; `--to merged` writes a checkpoint that "
            "llama.cpp's own converter reads",
        )
    rope = rope_of(config)
    if rope.get("rope_type", "default") != "default":
        kind_of_rope = rope["rope_type"]
        raise Refused(f"its positions are scaled by `{kind_of_rope}`, which is not written yet")
    window = config.get("sliding_window")
    if window and config.get("use_sliding_window", kind == "mistral"):
        raise Refused(f"its attention slides over {window} tokens; llama.cpp would see them all")
    if config.get("mlp_bias"):
        raise Refused("its MLP has biases, which llama.cpp's family has not")
    return family


def rope_of(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary embedding's parameters as transformers 5 writes them, from older keys too."""
    found = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    found.setdefault("rope_type", found.get("type", "default"))
    return found


def in_pairs(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """[heads · dimension, …] from halves to pairs: row (h, half, i) becomes (h, i, half)."""
    half = rows.shape[0] // heads // 2
    return (
        rows.reshape(heads, 2, half, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)
    ).contiguous()


def ordered(name: str, rows: torch.Tensor, config: dict[str, Any], family: Family) -> torch.Tensor:
    """A tensor whose first dimension is a module's outputs, in llama.cpp's order."""
    if not family.permuted:
        return rows
    if ".q_proj" in name:
        return in_pairs(rows, config["num_attention_heads"])
    if ".k_proj" in name:
        return in_pairs(rows, key_value_heads(config))
    return rows


def key_value_heads(config: dict[str, Any]) -> int:
    """Heads of keys and values; as many as of queries where none are said."""
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def head_dimension(config: dict[str, Any]) -> int:
    """Numbers of one head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
