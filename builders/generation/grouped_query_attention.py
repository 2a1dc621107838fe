"""Attention of one token a row on a CPU, without a copy of the keys and values for every head.

Where several heads share keys and values (GQA, Ainslie et al. 2023, arXiv:2305.13245),
transformers' SDPA repeats them for each head whenever rows are padded: with 32 rows of 500 tokens
of SmolLM2-135M that is 2.2 GB for each token that is generated. The heads of a group ask the same
keys, so they can be asked as that many positions of one head instead.

Invariant: the attention is transformers' own; only the shape in which it is asked for differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_IMPLEMENTATION = "sdpa"


@contextmanager
def grouped_query_attention() -> Iterator[None]:
    """While it lasts, models with transformers' SDPA attend so where they can."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    attentions = ALL_ATTENTION_FUNCTIONS
    own = attentions[_IMPLEMENTATION]

    def attend(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **given: Any,
    ) -> tuple[torch.Tensor, None]:
        groups = getattr(module, "num_key_value_groups", 1)
        special = given.get("position_bias") is not None or given.get("cache") is not None
        if special or not _can_group(query, key, attention_mask, groups):
            found: tuple[torch.Tensor, None] = own(
                module, query, key, value, attention_mask, **given
            )
            return found
        return _grouped(query, key, value, attention_mask, groups, given.get("scaling")), None

    before = attentions._local_mapping.get(_IMPLEMENTATION)
    attentions[_IMPLEMENTATION] = attend
    try:
        yield
    finally:
        if before is None:
            del attentions[_IMPLEMENTATION]
        else:
            attentions[_IMPLEMENTATION] = before


def _can_group(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, groups: int
) -> bool:
    return (
        groups > 1
        and query.device.type == "cpu"
        and query.shape[2] == 1
        and query.shape[1] == key.shape[1] * groups
        and (mask is None or (mask.ndim == 4 and mask.shape[1:3] == (1, 1)))
    )


def _grouped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    groups: int,
    scale: float | None,
) -> torch.Tensor:
    """[rows, heads, 1, width], [rows, heads / groups, tokens, width] → [rows, 1, heads, width]."""
    from torch.nn.functional import scaled_dot_product_attention

    rows, heads, _, width = query.shape
    asked = query.reshape(rows, heads // groups, groups, width)
    if mask is not None:
        mask = mask.expand(-1, -1, groups, -1)
    attended = scaled_dot_product_attention(asked, key, value, attn_mask=mask, scale=scale)
    return attended.reshape(rows, 1, heads, attended.shape[-1])
