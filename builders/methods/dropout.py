"""A base's own dropout and its kin, which are off where answers have to be comparable.

A policy that is compared with a reference, or with what it sampled, must differ from it by what it
has learnt alone; TRL turns the model's dropout off for it, too (`disable_dropout`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

# In names of numbers that modules read in their `forward`: OPT's `dropout` and `layerdrop`, BLOOM's
# `hidden_dropout`, MPT's `attn_dropout_p`, Llama's `attention_dropout`, Phi's
# `router_jitter_noise`.
_WORDS = ("dropout", "layerdrop", "pdrop", "jitter")


def active_dropout(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """(module, name of its number) of everything that is drawn while training; more than 0."""
    from torch.nn.modules.dropout import _DropoutNd

    for module in model.modules():
        own = {"p"} if isinstance(module, _DropoutNd) else set[str]()
        for name, value in vars(module).items():
            named = name in own or any(word in name for word in _WORDS)
            if named and isinstance(value, float) and value > 0:
                yield module, name


def disable_dropout(model: nn.Module) -> None:
    """Set every one of them to 0; the model's configuration stays as it is."""
    for module, name in [*active_dropout(model)]:
        setattr(module, name, 0.0)
