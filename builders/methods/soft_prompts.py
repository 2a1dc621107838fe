"""What the three soft-prompt methods share: virtual tokens, and PEFT's configuration of them.

Invariant: the base's own weights are frozen; only what stands in front of the sequence is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Lint
from adapterworks.manifests.models import PromptMethod

if TYPE_CHECKING:
    import torch
    from torch import nn

# Frequent tokens come first in the vocabularies of the field's tokenizers.
_FREQUENT = 5000


def key_value_width(shape: BaseShape) -> int:
    """Numbers of one virtual token in one layer's keys (or values), as PEFT sizes them for GQA."""
    return shape.kv_heads * shape.head_dim


def soft_prompt_lints(table: PromptMethod) -> list[Lint]:
    """Unusual lengths."""
    if table.virtual_tokens > 150:
        return [
            Lint(
                "method.virtual_tokens",
                f"{table.virtual_tokens} virtual tokens; gains level off above 20–100",
                "Lester et al. 2021, figure 3b; Li & Liang 2021, figure 4",
            )
        ]
    return []


def initial_tokens(model: nn.Module, table: PromptMethod) -> torch.Tensor:
    """Ids of the real tokens that a soft prompt starts from, [virtual_tokens].

    `init_text`'s, repeated as often as needed, or frequent ones drawn at random (Lester et al.
    2021, §3.2; Li & Liang 2021, §7.4: real words' activations beat random numbers).
    """
    import torch

    count = table.virtual_tokens
    vocabulary = model.get_input_embeddings().weight
    if table.init_text:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model.config._name_or_path)
        ids = tokenizer(table.init_text, add_special_tokens=False)["input_ids"]
        chosen = torch.tensor((ids * (count // len(ids) + 1))[:count])
    else:
        chosen = torch.randint(0, min(_FREQUENT, len(vocabulary)), (count,))
    return chosen.to(vocabulary.device)
