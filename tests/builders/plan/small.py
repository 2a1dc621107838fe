"""A base so small that every number of its plan can be worked out in the head."""

from __future__ import annotations

from adapterworks.builders.methods.linears import Linear
from adapterworks.builders.methods.shape import BaseShape

# Rows (outputs) and columns (inputs) of one layer's matrices: 576 numbers a layer. Rank r adds
# r·(out + in) to each, 128·r a layer.
_LAYER = (
    ("self_attn.q_proj", 8, 8),
    ("self_attn.k_proj", 4, 8),
    ("self_attn.v_proj", 4, 8),
    ("self_attn.o_proj", 8, 8),
    ("mlp.gate_proj", 16, 8),
    ("mlp.up_proj", 16, 8),
    ("mlp.down_proj", 8, 16),
)

# Two layers of width 8 (two heads of 4, one key-value head, 16 inside), ten tokens, 100 positions.
# 2·576 numbers in the matrices, 120 in embeddings and norms: 1,272 parameters.
SMALL = BaseShape(
    layers=2,
    hidden=8,
    intermediate=16,
    heads=2,
    kv_heads=1,
    head_dim=4,
    vocab=10,
    max_positions=100,
    linears=tuple(
        Linear(f"model.layers.{layer}.{name}", out, into)
        for layer in range(2)
        for name, out, into in _LAYER
    ),
    other=120,
)
