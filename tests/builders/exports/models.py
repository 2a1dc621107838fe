"""Tiny random models of each family, with a small byte-level BPE of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from adapterworks.builders.exports.gguf.tokenizer import SPLITS
from tests.builders.build_support import TEMPLATE

TEXTS = [
    "The library opens at nine in the morning, and closes at 17:30; 1234567 readers came in 2024.",
    "def f(x):\n    return x ** 2 + it's they'll we're\n",
    "病历编号 A12，患者主诉头痛三天。 Größe señor naïve façade",
]
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
# How a family's real tokenizers split, and what else its configurations have.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("smollm", {}),
    "mistral": ("gpt-2", {"sliding_window": None}),
    "qwen2": ("qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("llama-bpe", {"head_dim": 32}),
}


def make_model(folder: Path, family: str = "llama", **options: Any) -> Path:
    """A checkpoint whose q and k matter: weights ten times as large as a fresh model's."""
    split, own = FAMILIES[family]
    tokenizer = _tokenizer(split)
    torch.manual_seed(0)
    values = {**SHAPE, **own, **options, "vocab_size": tokenizer.vocab_size + 3}
    config = AutoConfig.for_model(family, bos_token_id=0, eos_token_id=1, **values)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("norm.weight", "bias")):
                weight.add_(torch.randn_like(weight) * 0.2)
            elif "_proj" in name:
                weight.mul_(6)
            elif "embed" in name or "lm_head" in name:
                weight.mul_(30)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(split: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split in ("gpt-2", "smollm"))
    steps: dict[str, list[Any]] = {
        "gpt-2": [],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
    }
    expressions = {name: expression for expression, name in SPLITS.items()}
    before = steps.get(split) or [
        pre_tokenizers.Split(Regex(expressions[split]), "isolated", invert=False)
        for _ in range(split in expressions)
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, level]) if before else level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    return fast
