"""Keys and values of what has been generated so far, with room for what follows.

transformers' `DynamicLayer` makes new tensors of all of them for every token that is added; here
there is room for some tokens more, which are written where they belong.

Invariant: what is read is what `DynamicLayer` would give.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

_ROOM = 64  # tokens: a copy of everything for every so many
# Caches of these hold keys and values row by row, so that some rows can be taken out.
_BY_ROW = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


class PreallocatedLayer(DynamicLayer):
    """One layer's keys and values, each a view [rows, heads, tokens, width] of a larger tensor."""

    keys: Any
    values: Any

    def __init__(self) -> None:
        super().__init__()
        self._allocated: tuple[torch.Tensor, torch.Tensor] | None = None
        self._seen: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the keys and values of further tokens; returns those of all."""
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if before == 0:
            self.lazy_initialization(key_states, value_states)
        # Whoever has chosen rows or cut tokens has put other tensors here.
        own = self._seen is not None and self.keys is self._seen[0] and self.values is self._seen[1]
        if not own or self._allocated is None or self._allocated[0].shape[-2] < after:
            self._allocated = (
                _with_room(self.keys, key_states, before, after + _ROOM),
                _with_room(self.values, value_states, before, after + _ROOM),
            )
        keys, values = self._allocated
        keys[..., before:after, :] = key_states
        values[..., before:after, :] = value_states
        self.keys, self.values = keys[..., :after, :], values[..., :after, :]
        self._seen = (self.keys, self.values)
        return self.keys, self.values


def _with_room(
    held: torch.Tensor | None, like: torch.Tensor, tokens: int, size: int
) -> torch.Tensor:
    """A copy of what is held, with room for `size` tokens."""
    made = like.new_empty((*like.shape[:-2], size, like.shape[-1]))
    if tokens:
        assert held is not None
        made[..., :tokens, :] = held
    return made


def holds_rows(model: PreTrainedModel) -> bool:
    """Whether its cache is keys and values alone: what a state-space layer keeps is not divided."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    stateful = bool(getattr(model, "_is_stateful", False))
    return kinds <= _BY_ROW and not stateful and not model.config.is_encoder_decoder


def preallocated_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache for `generate`; layers with a window are transformers' own.

    Args:
        model: of which `holds_rows` is true.
    """
    cache = DynamicCache(config=model.config)
    cache.layers = [
        PreallocatedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache
