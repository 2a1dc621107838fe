"""A soft prompt as what it is to the base: the keys and values of its virtual tokens.

Invariant: the base with this cache answers a padded batch as it answers each row alone, and as the
engine serves it. PEFT 0.21.2's own `generate` does so for prefixes, whose positions it shifts by
the virtual tokens; for prompt tuning it drops `position_ids`, so that the padding between the
virtual tokens and a row's own moves the row (`PeftModel._adjust_prompt_learning_kwargs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Cache


def has_soft_prompt(model: Any) -> bool:
    """Whether it is a PEFT model of prompt tuning, prefix tuning or P-tuning v2."""
    config = getattr(model, "active_peft_config", None)
    return config is not None and bool(config.is_prompt_learning)


def prompt_cache(model: Any, rows: int) -> tuple[Cache, int]:
    """The virtual tokens' cache for a batch, and their number.

    Args:
        model: for which `has_soft_prompt` holds.
        rows: in the batch; generating fills a cache, so each batch gets one of its own.

    Returns:
        Keys and values [rows, kv_heads, virtual_tokens, head_dim] by layer.
    """
    import torch

    prompt = model.get_prompt(batch_size=rows)
    if isinstance(prompt, torch.Tensor):  # prompt tuning: embeddings, [rows, tokens, hidden]
        base = model.get_base_model()
        prompt = base(inputs_embeds=prompt.to(base.dtype), use_cache=True).past_key_values
    return prompt, int(model.active_peft_config.num_virtual_tokens)
