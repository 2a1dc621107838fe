"""What stands beside a graph: tokenizer, configuration, and `genai_config.json`.

The last is what `onnxruntime-genai` loads a folder by: which input is which, and the model's shape.
Format: https://onnxruntime.ai/docs/genai/reference/config.html
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterworks.builders.exports.gguf.families import head_dimension, key_value_heads, rope_of
from adapterworks.builders.exports.onnx.graph import MODEL
from adapterworks.registry.bases.complete import beside_weights

# Of `transformers`' model types, those that were compared in ONNX Runtime (tests/builders/exports).
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_FIXED_ROPES = ("default", "linear", "llama3")  # frequencies that do not depend on the length


def strange(config: Mapping[str, Any]) -> Iterator[str]:
    """Why a base's graph would compute something else than the base, if it would."""
    kind = config.get("model_type")
    if kind not in FAMILIES:
        yield (
            f"models of the type `{kind}` were not compared in ONNX Runtime, known are "
            f"{', '.join(FAMILIES)}; `--to merged` writes a checkpoint that Optimum reads"
        )
        return
    rope = rope_of(dict(config))["rope_type"]
    if rope not in _FIXED_ROPES:
        yield f"its positions are scaled by `{rope}`, by the length of the text: a graph has one"
    window = config.get("sliding_window")
    if window and config.get("use_sliding_window", kind == "mistral"):
        yield f"its attention slides over {window} tokens; the graph's sees them all"


def copy_beside(
    checkpoint: Path, place: Path, config: Mapping[str, Any], ends: Sequence[int]
) -> None:
    """Everything of a checkpoint but its weights, and `genai_config.json`.

    Args:
        ends: ids that end an answer.
    """
    for path in beside_weights(checkpoint):
        shutil.copyfile(path, place / path.name)
    text = json.dumps(genai_config(config, ends), indent=2) + "\n"
    (place / "genai_config.json").write_text(text, encoding="utf-8")


def genai_config(config: Mapping[str, Any], ends: Sequence[int]) -> dict[str, Any]:
    """What `onnxruntime-genai` is told of a graph; arguments as `copy_beside`."""
    own = dict(config)
    padding = own.get("pad_token_id")
    first_end = ends[0] if ends else 0
    length = int(own["max_position_embeddings"])
    cache = {"key": "past_key_values.%d.key", "value": "past_key_values.%d.value"}
    return {
        "model": {
            "type": own["model_type"],
            "bos_token_id": own.get("bos_token_id") or 0,
            "eos_token_id": list(ends) or 0,
            "pad_token_id": padding if padding is not None else first_end,
            "vocab_size": own["vocab_size"],
            "context_length": length,
            "decoder": {
                "session_options": {"provider_options": []},
                "filename": MODEL,
                "head_size": head_dimension(own),
                "hidden_size": own["hidden_size"],
                "num_attention_heads": own["num_attention_heads"],
                "num_key_value_heads": key_value_heads(own),
                "num_hidden_layers": own["num_hidden_layers"],
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "position_ids": "position_ids",
                    "past_key_names": cache["key"],
                    "past_value_names": cache["value"],
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {"do_sample": False, "max_length": length, "past_present_share_buffer": False},
    }
