"""A checkpoint's tokenizer as llama.cpp takes it: byte-level BPE, its pre-tokenizer by name.

llama.cpp has pre-tokenizers in its code, under names; which one a tokenizer has is found by what
its `tokenizer.json` declares, never by the size of a vocabulary. Whether the ids are the same is
proved, not assumed (`proof.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.evaluation.asking import ends
from adapterworks.manifests.errors import Refused
from adapterworks.registry.bases.files import chat_template

if TYPE_CHECKING:
    from gguf import GGUFWriter

# The regular expressions that a `Split` has, and llama.cpp's names of them.
SPLITS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "llama-bpe",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
}
_NORMAL, _CONTROL, _DEFINED, _UNUSED = 1, 3, 4, 5


def add_tokenizer(writer: GGUFWriter, checkpoint: Path, size: int) -> None:
    """Write vocabulary, merges, control tokens and template.

    Args:
        size: of the vocabulary, as the embeddings have it.

    Raises:
        Refused: no byte-level BPE, or a pre-tokenizer that llama.cpp has no name for.
    """
    table = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    settings = _settings(checkpoint)
    model = table["model"]
    tokens = [f"[PAD{index}]" for index in range(size)]
    types = [_UNUSED] * size
    for token, index in model["vocab"].items():
        if index < size:
            tokens[index], types[index] = token, _NORMAL
    ids = {}
    for added in table["added_tokens"]:
        if added["id"] >= size:  # a pad token that was added without resizing: no model reads it
            continue
        tokens[added["id"]] = added["content"]
        types[added["id"]] = _CONTROL if added["special"] else _DEFINED
        ids[added["content"]] = added["id"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(table))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    )
    for key, add in (
        ("bos_token", writer.add_bos_token_id),
        ("pad_token", writer.add_pad_token_id),
        ("unk_token", writer.add_unk_token_id),
    ):
        text = _text(settings.get(key))
        if text in ids:
            add(ids[text])
    _add_ends(writer, ends(checkpoint, ids.get(_text(settings.get("eos_token")))))
    # The template writes every control token itself, and so do the rows that were trained on.
    writer.add_add_bos_token(False)
    template = chat_template(checkpoint)
    if template:
        writer.add_chat_template(template)


def pre_tokenizer(table: dict[str, Any]) -> str:
    """llama.cpp's name of how a `tokenizer.json` splits a text before its merges.

    Raises:
        Refused: see `add_tokenizer`.
    """
    if table["model"].get("type") != "BPE" or table["model"].get("byte_fallback"):
        raise Refused(
            "its tokenizer is no byte-level BPE",
            hint="`--to merged` writes a checkpoint that llama.cpp's own converter reads",
        )
    normalizer = table.get("normalizer")
    # llama.cpp normalizes nothing. NFC changes no composed text, which is what nearly all are; the
    # proof says whether it is missed (`Proof.composes`).
    composed = normalizer is None or normalizer.get("type") == "NFC"
    steps = table.get("pre_tokenizer") or {}
    parts = steps.get("pretokenizers", [steps])
    match [part.get("type") for part in parts]:
        case ["ByteLevel"] if normalizer is None and parts[0].get("use_regex", True):
            return "gpt-2"
        case ["Digits", "ByteLevel"] if normalizer is None and parts[0]["individual_digits"]:
            return "smollm"
        case ["Split", "ByteLevel"] if composed:
            name = SPLITS.get(str(parts[0]["pattern"].get("Regex")))
            if name is not None:
                return name
    raise Refused("llama.cpp has no name for how its tokenizer splits texts")


def _add_ends(writer: GGUFWriter, ids: tuple[int, ...]) -> None:
    """What ends an answer: GGUF has three keys for it, and llama.cpp knows some texts besides.

    Whether it ends at all of them is proved, not assumed (`proof.py`).
    """
    keys = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for token, add in zip(ids, keys, strict=False):
        add(token)


def _text(token: Any) -> Any:
    """The text of a token, which is written as a text or as a table of it."""
    return token["content"] if isinstance(token, dict) else token


def _settings(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "tokenizer_config.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found
